"""`gridstream doctor`: everything configured is checked, and what is wrong comes with what to do about it."""
