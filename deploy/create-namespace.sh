#!/bin/sh
# Registers the namespace, or sets the retention of one that exists. Safe to run again.
#
# TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE say where, NAMESPACE_RETENTION how long closed threads stay.
set -eu

register() {
    # Create comes first: asking for an unknown namespace would make the server remember that it is unknown.
    temporal operator namespace create \
        --namespace "$TEMPORAL_NAMESPACE" --retention "$NAMESPACE_RETENTION" ||
        temporal operator namespace update \
            --namespace "$TEMPORAL_NAMESPACE" --retention "$NAMESPACE_RETENTION"
}

# The server's port opens a little before its services have found each other.
attempts=30
until register; do
    attempts=$((attempts - 1))
    [ "$attempts" -gt 0 ] || exit 1
    sleep 2
done
