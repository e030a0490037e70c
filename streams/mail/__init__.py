"""The role `mail`: track calls become mails, each sent once."""
