#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs inside the nested host: loads the module, runs the tests given, unloads
# it. See tests/nested.

set -u
cd "$(dirname "$0")/.." || exit 1

# Loading and unloading are tests like any other; so is what a kernel with
# kmemleak knows, before the module is gone and its symbols with it, and after.
mkdir -p /run/suite
cat > /run/suite/module-load <<'END'
#!/bin/bash
[ ! -e /sys/kernel/debug/kmemleak ] || echo clear > /sys/kernel/debug/kmemleak
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
cat > /run/suite/leaks <<'END'
#!/bin/bash
# Lost is what no scan finds a pointer to; what is younger than 5 s does not count.
for _ in 1 2 3; do
	sleep 6
	echo scan > /sys/kernel/debug/kmemleak
done
! head -c 20000 /sys/kernel/debug/kmemleak | grep .
END
chmod +x /run/suite/*
leaks=()
[ ! -e /sys/kernel/debug/kmemleak ] || leaks=(/run/suite/leaks)

exec tests/run --results "$HVX_RESULTS" --limit "${HVX_LIMIT:-300}" --klog \
	/run/suite/module-load "$@" "${leaks[@]}" /run/suite/module-unload "${leaks[@]}"
