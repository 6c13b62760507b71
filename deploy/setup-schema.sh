#!/bin/sh
# Creates both Temporal databases, or upgrades them, to the schema version of this admin-tools image.
# Safe to run again: every step skips what exists already.
#
# The connection comes from SQL_PLUGIN, SQL_HOST, SQL_PORT, SQL_USER and SQL_PASSWORD.
set -eu

bring_up_to_date() {
    database=$1
    versions=/etc/temporal/schema/postgresql/v12/$2/versioned
    temporal-sql-tool --database "$database" create-database
    temporal-sql-tool --database "$database" setup-schema --version 0.0
    temporal-sql-tool --database "$database" update-schema --schema-dir "$versions"
}

bring_up_to_date temporal temporal
bring_up_to_date temporal_visibility visibility
