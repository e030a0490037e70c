"""The servers of `gridstream up`: a real Apache Kafka and the ClickHouse engine, without installation."""
