# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Certificates of tests.

# make_pki FOLDER NAME...: an authority, and a certificate for each side of a migration,
# the server's made out to hosts of these names.
make_pki() {
	local n

	mkdir "$1" && cd "$1" || return 1
	shift
	printf 'basicConstraints=CA:TRUE\nkeyUsage=keyCertSign\n' > ca.ext
	(IFS=,; printf 'subjectAltName=%s\n' "${*/#/DNS:}") > host.ext
	openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout ca.key -subj /CN=ca -out ca.csr || return 1
	openssl x509 -req -in ca.csr -signkey ca.key -extfile ca.ext -days 2 -out cacert.pem || return 1
	for n in server client; do
		openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout ${n}key.pem -subj /CN=$n -out $n.csr || return 1
		openssl x509 -req -in $n.csr -CA cacert.pem -CAkey ca.key -CAcreateserial -extfile host.ext -days 2 -out ${n}cert.pem || return 1
	done
}
