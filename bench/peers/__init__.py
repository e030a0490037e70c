"""Other engines that do the same work on the same servers: what gridstream is compared with.

Those in Python have gridstream's row function, insert settings and HTTP client: engines are compared, not JSON code.
All publish with acks=all. All do less: none has a record of deliveries, none has dead letters.
"""
