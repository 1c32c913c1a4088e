#pragma once
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

// OpenSSL has these as macros, which Swift does not see.

static inline int eider_ssl_require_tls12(SSL_CTX *context) {
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    return (int)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
}

static inline int eider_ssl_set_server_name(SSL *ssl, const char *name) {
    return (int)SSL_set_tlsext_host_name(ssl, name);
}

// Nobody is there to be asked for a passphrase: a key that needs one cannot be used.
static int eider_ssl_no_passphrase(char *buffer, int size, int writing, void *data) {
    (void)buffer;
    (void)size;
    (void)writing;
    (void)data;
    return -1;
}

static inline void eider_ssl_never_ask(SSL_CTX *context) {
    SSL_CTX_set_default_passwd_cb(context, eider_ssl_no_passphrase);
}
