"""The ingress: takes webhooks, and answers only when Kafka has them."""
