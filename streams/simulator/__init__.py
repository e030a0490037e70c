"""A simulated SendGrid: a realistic feed, and how it is posted."""
