#!/bin/sh
# Makes the files that docker-compose.yml takes its secrets from, in deploy/secrets. What is there already stays.
# Usage: deploy/secrets.sh VERIFICATION_KEY     (SendGrid: Settings > Mail Settings > Event Webhooks > Signed Event Webhook)
set -eu
if [ $# -ne 1 ] || [ -z "$1" ]; then
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
fi
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
cd secrets

# Each file is readable for the users of the containers; nobody else gets into the folder.
put() {
    [ -e "$1" ] || { cat >"$1.new" && chmod 444 "$1.new" && mv "$1.new" "$1"; }
}
hash() {
    printf %s "$1" | openssl dgst -sha256 -r | cut -d ' ' -f 1
}

writer=$(openssl rand -hex 24)
for password in clickhouse_reader_password dashboard_password grafana_password privacy_key; do
    openssl rand -hex 24 | put "$password"
done
echo "http://gridstream:$writer@clickhouse:8123" | put clickhouse_url
# Those that are there win over those made just now.
writer=$(sed 's|^http://gridstream:\(.*\)@clickhouse:8123$|\1|' clickhouse_url)
put clickhouse_users.xml <<XML
<clickhouse>
    <profiles>
        <reader><readonly>2</readonly></reader>
    </profiles>
    <users>
        <default>
            <networks replace="replace"><ip>127.0.0.1</ip><ip>::1</ip></networks>
        </default>
        <gridstream>
            <password_sha256_hex>$(hash "$writer")</password_sha256_hex>
            <networks><ip>::/0</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
        </gridstream>
        <reader>
            <password_sha256_hex>$(hash "$(cat clickhouse_reader_password)")</password_sha256_hex>
            <networks><ip>::/0</ip></networks>
            <profile>reader</profile>
            <quota>default</quota>
        </reader>
    </users>
</clickhouse>
XML
put gridstream.toml <<TOML
# All settings: docs/configuration.md. Where Kafka and ClickHouse are, docker-compose.yml says.

[[sources]]
name = "sendgrid"
public_keys = ["$1"]
TOML
if [ ! -e tls.pem ]; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -keyout tls.key -out tls.crt 2>/dev/null
    cat tls.crt tls.key | put tls.pem
    rm tls.crt tls.key
    echo "deploy/secrets/tls.pem is signed by itself: SendGrid wants one of a public authority (certificate, chain and key in one file)"
fi
