"""ClickHouse without its server: the embedded engine, in a process of its own, behind ClickHouse's HTTP interface.

`python -m connectors.embedded.engine --path DIR --password-file FILE` is to clickhouse-connect, curl, Grafana and JDBC
a server on port 8123. The user `default`, without a password, reads; `gridstream` may do everything.

A request meets the files in this order:

- `server`: the routes. `users`: who asks. `request`: what the URL says. `receiving`, `body`, `encodings`, `blocks`: the
  statement, read and decompressed. `statement`: where its parts lie. `hello`, `cancelling`: two that are answered here.
- `errand`: the request as it goes to the engine, in a thread of `lanes`, on a connection of its own or of `sessions`.
- `inserts`: one that brings rows. `plan`, `results`, `pipe`: any other, and the way of its result. `responses`: back.

`database`, `connection` and `server_errors` are all that knows chDB. `access` and `reader` keep a reader to the data.
"""
