"""Objects: what SendGrid keeps besides events, as the latest state in ClickHouse."""
