//! TLS, SASL, authorization, delegation tokens.

use crate::def::Default::{Is, Null};
use crate::def::KeyDef;
use crate::def::Valid::{AtLeast, Between, NonNull, OneOf, OneOfAnyCase};

pub(super) const KEYS: &[KeyDef] = &[
    KeyDef::string(
        "authorizer.class.name",
        Is(""),
        "Java class that decides who may do what. Ottla provides the rules of \
         `StandardAuthorizer`; a node that cannot enforce them does not start.",
    )
    .valid(NonNull)
    .low()
    .refused(),
    KeyDef::class(
        "principal.builder.class",
        Is("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"),
        "Java class that turns an authenticated connection into a principal. Classes cannot be \
         loaded here; the default rules apply.",
    )
    .per_broker()
    .refused(),
    KeyDef::string(
        "security.providers",
        Null,
        "Java classes that bring cryptographic algorithms. Classes cannot be loaded here.",
    )
    .low()
    .unused(),
    KeyDef::password(
        "delegation.token.secret.key",
        Null,
        "Secret from which delegation tokens are derived, the same on every node. Without it \
         there are no tokens.",
    ),
    KeyDef::long(
        "delegation.token.max.lifetime.ms",
        Is("604800000"),
        "Age beyond which a delegation token cannot be renewed.",
    )
    .valid(AtLeast(1)),
    KeyDef::long(
        "delegation.token.expiry.time.ms",
        Is("86400000"),
        "How long a delegation token is valid until it is renewed.",
    )
    .valid(AtLeast(1)),
    KeyDef::long(
        "delegation.token.expiry.check.interval.ms",
        Is("3600000"),
        "How often expired delegation tokens are removed.",
    )
    .valid(AtLeast(1))
    .low(),
    KeyDef::list("sasl.enabled.mechanisms", Is("GSSAPI"), "SASL mechanisms that clients may use.")
        .per_broker(),
    KeyDef::string(
        "sasl.mechanism.inter.broker.protocol",
        Is("GSSAPI"),
        "SASL mechanism between brokers.",
    )
    .per_broker(),
    KeyDef::string(
        "sasl.mechanism.controller.protocol",
        Is("GSSAPI"),
        "SASL mechanism from brokers to controllers and between controllers.",
    )
    .high(),
    KeyDef::password(
        "sasl.jaas.config",
        Null,
        "Login module and its options, in Java's syntax, usually per listener and mechanism.",
    )
    .per_broker(),
    KeyDef::class(
        "sasl.server.callback.handler.class",
        Null,
        "Java class that answers a SASL server's questions. Classes cannot be loaded here.",
    )
    .unused(),
    KeyDef::class(
        "sasl.client.callback.handler.class",
        Null,
        "Java class that answers a SASL client's questions. Classes cannot be loaded here.",
    )
    .unused(),
    KeyDef::class(
        "sasl.login.callback.handler.class",
        Null,
        "Java class that answers a login's questions. Classes cannot be loaded here.",
    )
    .unused(),
    KeyDef::class(
        "sasl.login.class",
        Null,
        "Java class that logs in. Classes cannot be loaded here.",
    )
    .unused(),
    KeyDef::int(
        "sasl.login.connect.timeout.ms",
        Null,
        "How long connecting to the OAuth provider may take.",
    )
    .low(),
    KeyDef::int(
        "sasl.login.read.timeout.ms",
        Null,
        "How long reading from the OAuth provider may take.",
    )
    .low(),
    KeyDef::double(
        "sasl.login.refresh.window.factor",
        Is("0.8"),
        "Part of a credential's life after which it is renewed.",
    )
    .per_broker(),
    KeyDef::double(
        "sasl.login.refresh.window.jitter",
        Is("0.05"),
        "Random part added to that time, so that nodes do not renew at once.",
    )
    .per_broker(),
    KeyDef::short(
        "sasl.login.refresh.min.period.seconds",
        Is("60"),
        "Shortest time between two renewals of a credential.",
    )
    .per_broker(),
    KeyDef::short(
        "sasl.login.refresh.buffer.seconds",
        Is("300"),
        "Time before a credential's end by which its renewal should be over.",
    )
    .per_broker(),
    KeyDef::long(
        "sasl.login.retry.backoff.ms",
        Is("100"),
        "First pause after a failed login at the OAuth provider.",
    )
    .low(),
    KeyDef::long(
        "sasl.login.retry.backoff.max.ms",
        Is("10000"),
        "Longest pause after a failed login at the OAuth provider.",
    )
    .low(),
    KeyDef::int(
        "sasl.server.max.receive.size",
        Is("524288"),
        "Largest SASL message accepted before a client is authenticated.",
    ),
    KeyDef::string(
        "sasl.kerberos.service.name",
        Null,
        "Name of the Kerberos principal brokers run as.",
    )
    .per_broker(),
    KeyDef::string("sasl.kerberos.kinit.cmd", Is("/usr/bin/kinit"), "Path of Kerberos' kinit.")
        .per_broker()
        .unused(),
    KeyDef::double(
        "sasl.kerberos.ticket.renew.window.factor",
        Is("0.8"),
        "Part of a Kerberos ticket's life after which it is renewed.",
    )
    .per_broker()
    .unused(),
    KeyDef::double(
        "sasl.kerberos.ticket.renew.jitter",
        Is("0.05"),
        "Random part added to that time.",
    )
    .per_broker()
    .unused(),
    KeyDef::long(
        "sasl.kerberos.min.time.before.relogin",
        Is("60000"),
        "Shortest time between two Kerberos renewals.",
    )
    .per_broker()
    .unused(),
    KeyDef::list(
        "sasl.kerberos.principal.to.local.rules",
        Is("DEFAULT"),
        "Rules that turn a Kerberos principal into a short name, the first match wins.",
    )
    .per_broker(),
    KeyDef::boolean(
        "sasl.oauthbearer.allow.unverified.audience",
        Is("false"),
        "Whether a token is accepted when no audience to expect is configured.",
    ),
    KeyDef::boolean(
        "sasl.oauthbearer.allow.unverified.issuer",
        Is("false"),
        "Whether a token is accepted when no issuer to expect is configured.",
    ),
    KeyDef::string(
        "sasl.oauthbearer.assertion.algorithm",
        Is("RS256"),
        "Algorithm that signs the assertion with which this node asks for tokens.",
    )
    .valid(OneOfAnyCase(&["ES256", "RS256"])),
    KeyDef::string("sasl.oauthbearer.assertion.claim.aud", Null, "Audience in that assertion."),
    KeyDef::int(
        "sasl.oauthbearer.assertion.claim.exp.seconds",
        Is("300"),
        "How long that assertion is valid.",
    )
    .valid(Between(0, 86_400))
    .low(),
    KeyDef::string("sasl.oauthbearer.assertion.claim.iss", Null, "Issuer in that assertion."),
    KeyDef::boolean(
        "sasl.oauthbearer.assertion.claim.jti.include",
        Is("false"),
        "Whether that assertion has a unique id.",
    ),
    KeyDef::int(
        "sasl.oauthbearer.assertion.claim.nbf.seconds",
        Is("60"),
        "How far before now that assertion starts to be valid.",
    )
    .valid(Between(0, 3600))
    .low(),
    KeyDef::string("sasl.oauthbearer.assertion.claim.sub", Null, "Subject in that assertion."),
    KeyDef::string(
        "sasl.oauthbearer.assertion.file",
        Null,
        "File with a finished assertion, read again when it changes.",
    ),
    KeyDef::string(
        "sasl.oauthbearer.assertion.private.key.file",
        Null,
        "File with the private key that signs assertions.",
    ),
    KeyDef::password(
        "sasl.oauthbearer.assertion.private.key.passphrase",
        Null,
        "Passphrase of that private key.",
    ),
    KeyDef::string(
        "sasl.oauthbearer.assertion.template.file",
        Null,
        "File with claims and headers that every assertion starts from.",
    ),
    KeyDef::string(
        "sasl.oauthbearer.client.credentials.client.id",
        Null,
        "Client id with which this node asks the OAuth provider for tokens.",
    ),
    KeyDef::password(
        "sasl.oauthbearer.client.credentials.client.secret",
        Null,
        "Secret with which this node asks the OAuth provider for tokens.",
    ),
    KeyDef::int(
        "sasl.oauthbearer.clock.skew.seconds",
        Is("30"),
        "Difference between clocks that is tolerated when a token's times are checked.",
    )
    .low(),
    KeyDef::list(
        "sasl.oauthbearer.expected.audience",
        Is(""),
        "Audiences of which a token has to name one.",
    )
    .high(),
    KeyDef::string("sasl.oauthbearer.expected.issuer", Null, "Issuer a token has to name.").high(),
    KeyDef::long(
        "sasl.oauthbearer.jwks.endpoint.refresh.ms",
        Is("3600000"),
        "How long the provider's keys are used before they are fetched again.",
    )
    .low(),
    KeyDef::long(
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms",
        Is("100"),
        "First pause after the provider's keys could not be fetched.",
    )
    .low(),
    KeyDef::long(
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
        Is("10000"),
        "Longest pause after the provider's keys could not be fetched.",
    )
    .low(),
    KeyDef::string(
        "sasl.oauthbearer.jwks.endpoint.url",
        Null,
        "Address of the provider's keys, `https:` or `file:`.",
    ),
    KeyDef::class(
        "sasl.oauthbearer.jwt.retriever.class",
        Is("org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever"),
        "Java class that fetches tokens. Classes cannot be loaded here.",
    )
    .unused(),
    KeyDef::class(
        "sasl.oauthbearer.jwt.validator.class",
        Is("org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator"),
        "Java class that checks tokens. Classes cannot be loaded here.",
    )
    .unused(),
    KeyDef::string("sasl.oauthbearer.scope", Null, "Scope this node asks tokens for."),
    KeyDef::string(
        "sasl.oauthbearer.scope.claim.name",
        Is("scope"),
        "Name of the claim that holds a token's scope.",
    )
    .low(),
    KeyDef::string(
        "sasl.oauthbearer.sub.claim.name",
        Is("sub"),
        "Name of the claim that holds the user's name.",
    )
    .low(),
    KeyDef::string(
        "sasl.oauthbearer.token.endpoint.url",
        Null,
        "Address at which this node asks for tokens.",
    ),
    KeyDef::string(
        "ssl.keystore.location",
        Null,
        "File with this node's certificate chain and private key.",
    )
    .per_broker(),
    KeyDef::string(
        "ssl.keystore.type",
        Is("JKS"),
        "Format of that file: `PEM`, `PKCS12` or `JKS`.",
    )
    .per_broker(),
    KeyDef::password("ssl.keystore.password", Null, "Password of that file.").per_broker(),
    KeyDef::password("ssl.keystore.key", Null, "Private key in PEM, instead of a file.")
        .per_broker(),
    KeyDef::password(
        "ssl.keystore.certificate.chain",
        Null,
        "Certificate chain in PEM, instead of a file.",
    )
    .per_broker(),
    KeyDef::password("ssl.key.password", Null, "Password of the private key.").per_broker(),
    KeyDef::string(
        "ssl.truststore.location",
        Null,
        "File with the certificates of authorities this node trusts.",
    )
    .per_broker(),
    KeyDef::string(
        "ssl.truststore.type",
        Is("JKS"),
        "Format of that file: `PEM`, `PKCS12` or `JKS`.",
    )
    .per_broker(),
    KeyDef::password("ssl.truststore.password", Null, "Password of that file.").per_broker(),
    KeyDef::password(
        "ssl.truststore.certificates",
        Null,
        "Trusted certificates in PEM, instead of a file.",
    )
    .per_broker(),
    KeyDef::string(
        "ssl.client.auth",
        Is("none"),
        "Whether clients need a certificate: `required`, `requested` or `none`.",
    )
    .valid(OneOf(&["required", "requested", "none"]))
    .per_broker(),
    KeyDef::list("ssl.enabled.protocols", Is("TLSv1.2,TLSv1.3"), "TLS versions that may be used.")
        .per_broker(),
    KeyDef::string(
        "ssl.protocol",
        Is("TLSv1.3"),
        "TLS version to start with; kept for Java, `ssl.enabled.protocols` decides.",
    )
    .per_broker(),
    KeyDef::list(
        "ssl.cipher.suites",
        Is(""),
        "Cipher suites that may be used; empty allows the library's.",
    )
    .per_broker(),
    KeyDef::string(
        "ssl.endpoint.identification.algorithm",
        Is("https"),
        "`https` checks that a server's certificate names the host connected to; empty does not.",
    )
    .low()
    .per_broker(),
    KeyDef::string(
        "ssl.principal.mapping.rules",
        Is("DEFAULT"),
        "Rules that turn a certificate's distinguished name into a principal, the first match \
         wins.",
    )
    .low(),
    KeyDef::boolean(
        "ssl.allow.dn.changes",
        Is("false"),
        "Whether a reloaded certificate may carry another distinguished name.",
    )
    .low(),
    KeyDef::boolean(
        "ssl.allow.san.changes",
        Is("false"),
        "Whether a reloaded certificate may lack names the old one had.",
    )
    .low(),
    KeyDef::class(
        "ssl.engine.factory.class",
        Null,
        "Java class that makes TLS connections. Classes cannot be loaded here.",
    )
    .low()
    .per_broker()
    .unused(),
    KeyDef::string("ssl.keymanager.algorithm", Is("SunX509"), "Java's choice of key manager.")
        .per_broker()
        .unused(),
    KeyDef::string("ssl.trustmanager.algorithm", Is("PKIX"), "Java's choice of trust manager.")
        .per_broker()
        .unused(),
    KeyDef::string("ssl.provider", Null, "Java's choice of cryptographic provider.")
        .per_broker()
        .unused(),
    KeyDef::string("ssl.secure.random.implementation", Null, "Java's choice of random generator.")
        .low()
        .per_broker()
        .unused(),
];
