"""Contacts: what cohorts say becomes lists in SendGrid."""
