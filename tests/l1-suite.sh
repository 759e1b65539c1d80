#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs inside the nested host: loads the module, runs the tests given, unloads
# it. See tests/nested.

set -u
cd "$(dirname "$0")/.." || exit 1

# Loading and unloading are tests like any other.
mkdir -p /run/suite
cat > /run/suite/module-load <<'END'
#!/bin/bash
insmod "$HVX_MODULE" && [ -c /dev/hvx ]
END
cat > /run/suite/module-unload <<'END'
#!/bin/bash
# The last reference may still be on its way out when a test ends.
for _ in $(seq 50); do
	rmmod hvx && exit
	sleep 0.2
done
exit 1
END
chmod +x /run/suite/*

exec tests/run --results "$HVX_RESULTS" --limit 300 --klog \
	/run/suite/module-load "$@" /run/suite/module-unload
