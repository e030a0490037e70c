"""What the data is: event types, columns, normalization, DDL. Pure: no Kafka, no I/O, no clock, no environment."""
