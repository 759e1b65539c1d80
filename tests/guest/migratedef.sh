#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The definition of migrate.sh's guest goes along with it, and is refused where another
# guest has its name.
# limit: 900
# bench: named

HVX_MIGRATE_ONLY=definition
. "$(dirname "$0")/migrate.sh"
