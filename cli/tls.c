// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"
#include "tls.h"

/* libvirt's layout; its own default priorities are "NORMAL", too. */
#define PRIORITY	"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

struct tls {
	gnutls_session_t session;
	gnutls_certificate_credentials_t cred;
};

struct files {
	char *ca, *cert, *key;
};

static void files_free(struct files *f)
{
	free(f->ca);
	free(f->cert);
	free(f->key);
}

static int make_paths(struct files *f, const char *ca_dir, const char *dir, const char *key_dir, const char *who)
{
	if (asprintf(&f->ca, "%s/cacert.pem", ca_dir) < 0)
		f->ca = NULL;
	if (asprintf(&f->cert, "%s/%scert.pem", dir, who) < 0)
		f->cert = NULL;
	if (asprintf(&f->key, "%s/%skey.pem", key_dir, who) < 0)
		f->key = NULL;
	return f->ca && f->cert && f->key ? 0 : -1;
}

/* The folder that was named; a user's own ones where all are there; the host's. */
static int find_files(struct files *f, const char *pki, bool server)
{
	const char *who = server ? "server" : "client", *home = getenv("HOME");
	char *dir = NULL;
	int ret;

	memset(f, 0, sizeof(*f));
	if (pki)
		return make_paths(f, pki, pki, pki, who);
	if (geteuid() && home && asprintf(&dir, "%s/.pki/libvirt", home) > 0) {
		ret = make_paths(f, dir, dir, dir, who);
		free(dir);
		if (!ret && !access(f->ca, R_OK) && !access(f->cert, R_OK) && !access(f->key, R_OK))
			return 0;
		files_free(f);
		memset(f, 0, sizeof(*f));
	}
	return make_paths(f, "/etc/pki/CA", "/etc/pki/libvirt", "/etc/pki/libvirt/private", who);
}

static int complain(const char *what, int ret)
{
	cli_error("TLS: %s: %s", what, gnutls_strerror(ret));
	return -1;
}

static int load(struct tls *t, const struct files *f)
{
	int ret = gnutls_certificate_allocate_credentials(&t->cred);

	if (ret < 0)
		return complain("certificates", ret);
	ret = gnutls_certificate_set_x509_trust_file(t->cred, f->ca, GNUTLS_X509_FMT_PEM);
	if (ret <= 0) {
		cli_error("TLS: %s: %s; the certificate of the authority that signed both hosts' belongs there, or use --pki",
			  f->ca, ret ? gnutls_strerror(ret) : "no certificate in it");
		return -1;
	}
	ret = gnutls_certificate_set_x509_key_file(t->cred, f->cert, f->key, GNUTLS_X509_FMT_PEM);
	if (ret < 0) {
		cli_error("TLS: %s and %s: %s", f->cert, f->key, gnutls_strerror(ret));
		return -1;
	}
	return 0;
}

/* Why the other side's certificate does not do. */
static int complain_handshake(struct tls *t, const char *host, int ret)
{
	gnutls_datum_t text = { 0 };

	if (ret == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR &&
	    !gnutls_certificate_verification_status_print(gnutls_session_get_verify_cert_status(t->session),
							  GNUTLS_CRT_X509, &text, 0)) {
		cli_error("TLS: the certificate of %s: %s", host ? host : "the other side", (char *)text.data);
		gnutls_free(text.data);
		return -1;
	}
	if (ret == GNUTLS_E_FATAL_ALERT_RECEIVED) {
		cli_error("TLS: the other side refuses: %s",
			  gnutls_alert_get_name(gnutls_alert_get(t->session)) ?: "no reason given");
		return -1;
	}
	return complain("the connection cannot be secured", ret);
}

static int handshake(struct tls *t, int fd, bool server, const char *host)
{
	int ret = gnutls_init(&t->session, (server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NO_SIGNAL);

	if (ret >= 0)
		ret = gnutls_priority_set_direct(t->session, PRIORITY, NULL);
	if (ret >= 0)
		ret = gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, t->cred);
	if (ret < 0)
		return complain("session", ret);
	if (server)
		gnutls_certificate_server_set_request(t->session, GNUTLS_CERT_REQUIRE);
	else
		gnutls_server_name_set(t->session, GNUTLS_NAME_DNS, host, strlen(host));
	gnutls_session_set_verify_cert(t->session, server ? NULL : host, 0);
	gnutls_transport_set_int(t->session, fd);
	gnutls_handshake_set_timeout(t->session, 30000);
	do {
		ret = gnutls_handshake(t->session);
	} while (ret < 0 && !gnutls_error_is_fatal(ret) && ret != GNUTLS_E_AGAIN);
	return ret < 0 ? complain_handshake(t, host, ret) : 0;
}

static void tls_free(struct tls *t)
{
	if (!t)
		return;
	if (t->session)
		gnutls_deinit(t->session);
	if (t->cred)
		gnutls_certificate_free_credentials(t->cred);
	free(t);
}

static struct tls *tls_start(int fd, bool server, const char *host, const char *pki)
{
	struct tls *t = calloc(1, sizeof(*t));
	struct files f;

	if (!t || find_files(&f, pki, server)) {
		cli_error("out of memory");
		free(t);
		return NULL;
	}
	if (load(t, &f) || handshake(t, fd, server, host)) {
		tls_free(t);
		t = NULL;
	}
	files_free(&f);
	return t;
}

static int tls_check(bool server, const char *pki)
{
	struct tls t = { 0 };
	struct files f;
	int ret;

	if (find_files(&f, pki, server)) {
		cli_error("out of memory");
		files_free(&f);
		return -1;
	}
	ret = load(&t, &f);
	if (t.cred)
		gnutls_certificate_free_credentials(t.cred);
	files_free(&f);
	return ret;
}

static ssize_t result(ssize_t n)
{
	if (n >= 0)
		return n;
	errno = n == GNUTLS_E_AGAIN ? EAGAIN : n == GNUTLS_E_INTERRUPTED ? EINTR :
		n == GNUTLS_E_PREMATURE_TERMINATION ? ECONNRESET : EIO;
	return -1;
}

static ssize_t tls_read(struct tls *t, void *buf, size_t len)
{
	return result(gnutls_record_recv(t->session, buf, len));
}

static ssize_t tls_write(struct tls *t, const void *buf, size_t len)
{
	return result(gnutls_record_send(t->session, buf, len));
}

static bool tls_pending(const struct tls *t)
{
	return gnutls_record_check_pending(t->session);
}

static void tls_bye(struct tls *t)
{
	gnutls_bye(t->session, GNUTLS_SHUT_WR);
}

const struct tls_ops hvx_tls = {
	.start = tls_start, .check = tls_check, .read = tls_read, .write = tls_write,
	.pending = tls_pending, .bye = tls_bye, .free = tls_free,
};
