"""Personal data: who is forgotten, what is deleted of them, and what is known of somebody."""
