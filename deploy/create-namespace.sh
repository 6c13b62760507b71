#!/bin/sh
# Creates the namespace, or sets its retention if it exists. Safe to run again.
#
# TEMPORAL_ADDRESS is the server, TEMPORAL_NAMESPACE the namespace, and NAMESPACE_RETENTION how long the server keeps
# closed threads.
set -eu

register() {
    # Create first: a look-up of an unknown namespace makes the server cache that it does not exist.
    temporal operator namespace create \
        --namespace "$TEMPORAL_NAMESPACE" --retention "$NAMESPACE_RETENTION" ||
        temporal operator namespace update \
            --namespace "$TEMPORAL_NAMESPACE" --retention "$NAMESPACE_RETENTION"
}

# Retried, because the server's port opens a little before its services are ready.
attempts=30
until register; do
    attempts=$((attempts - 1))
    [ "$attempts" -gt 0 ] || exit 1
    sleep 2
done
