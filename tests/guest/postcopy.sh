#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The guest of migrate.sh goes over before its memory, once with a connection that is closed
# with most of it on its way, and replaced by another; by TLS and by ssh, with one end of
# the relay, and then the destination, killed.
# limit: 900
# bench: named

HVX_MIGRATE_ONLY=postcopy
. "$(dirname "$0")/migrate.sh"
