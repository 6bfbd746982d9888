//! SCRAM credentials of users (KIP-554): the password never leaves this machine, only its salted hash.

use hmac::{Hmac, Mac};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use ottla_protocol::messages::describe_user_scram_credentials_request::UserName;
use ottla_protocol::messages::{
    AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest,
};
use sha2::{Sha256, Sha512};

use crate::client::Cluster;
use crate::failure::{Failure, Outcome, check};

/// Mechanisms, by their numbers on the wire from 1.
const MECHANISMS: [&str; 2] = ["SCRAM-SHA-256", "SCRAM-SHA-512"];
const ITERATIONS: i32 = 4096;

pub(super) fn is_mechanism(name: &str) -> bool {
    MECHANISMS.contains(&name)
}

fn number(mechanism: &str) -> i8 {
    MECHANISMS.iter().zip(1..).find(|(name, _)| **name == mechanism).map_or(0, |(_, n)| n)
}

/// Users and their credentials in the words of the tool; all users without a name.
pub(super) async fn describe(
    cluster: &mut Cluster,
    user: Option<&str>,
) -> Outcome<Vec<(String, String)>> {
    let one = |name: &str| vec![UserName { name: name.into(), ..Default::default() }];
    let users = match user {
        Some("") => return Ok(Vec::new()),
        user => user.map(one),
    };
    let request = DescribeUserScramCredentialsRequest { users, ..Default::default() };
    if !cluster.serves::<DescribeUserScramCredentialsRequest>().await {
        return Ok(Vec::new());
    }
    let answer = cluster.any(&request).await?;
    let message = answer.error_message.as_deref();
    check("DescribeUserScramCredentials", answer.error_code, message)?;
    let mut found = Vec::new();
    for result in &answer.results {
        if result.error_code == ErrorCode::ResourceNotFound as i16 {
            continue;
        }
        let message = result.error_message.as_deref();
        check(format_args!("user {}", result.user), result.error_code, message)?;
        let credentials: Vec<_> = result
            .credential_infos
            .iter()
            .map(|info| {
                let index = usize::try_from(info.mechanism - 1).unwrap_or(usize::MAX);
                let name = MECHANISMS.get(index).copied().unwrap_or("UNKNOWN");
                format!("{name}=iterations={}", info.iterations)
            })
            .collect();
        found.push((result.user.to_string(), credentials.join(", ")));
    }
    Ok(found)
}

/// Sets and removes credentials of a user.
pub(super) async fn alter(
    cluster: &mut Cluster,
    user: &str,
    (set, removed): (&[(String, String)], &[String]),
) -> Outcome {
    let mut upsertions = Vec::new();
    for (mechanism, settings) in set {
        upsertions.push(upsertion(user, mechanism, settings)?);
    }
    let deletions = removed.iter().map(|mechanism| ScramCredentialDeletion {
        name: user.into(),
        mechanism: number(mechanism),
        ..Default::default()
    });
    let request = AlterUserScramCredentialsRequest {
        deletions: deletions.collect(),
        upsertions,
        ..Default::default()
    };
    let answer = cluster.controller(&request, i16::MAX).await?;
    for result in &answer.results {
        let message = result.error_message.as_deref();
        check(format_args!("user {user}"), result.error_code, message)?;
    }
    Ok(())
}

/// A credential from `iterations=4096,password=secret`.
fn upsertion(user: &str, mechanism: &str, settings: &str) -> Outcome<ScramCredentialUpsertion> {
    let wrong = |text: &str| Failure::Usage(format!("{mechanism} of {user}: {text}"));
    let (mut iterations, mut password) = (ITERATIONS, None);
    for setting in settings.split(',') {
        match setting.split_once('=') {
            Some(("iterations", count)) => {
                iterations = count.parse().map_err(|_| wrong("iterations must be a number"))?;
            }
            Some(("password", text)) => password = Some(text),
            _ => return Err(wrong("[iterations=N,password=TEXT] is expected")),
        }
    }
    let password = password.ok_or_else(|| wrong("a password is expected"))?;
    if !(ITERATIONS..=16_384).contains(&iterations) {
        return Err(wrong("iterations must be 4096 to 16384"));
    }
    let salt = ottla_server::random_uuid().0;
    let salted = match number(mechanism) {
        1 => salted_password::<Hmac<Sha256>>(password.as_bytes(), &salt, iterations),
        _ => salted_password::<Hmac<Sha512>>(password.as_bytes(), &salt, iterations),
    };
    let salted = salted.ok_or_else(|| wrong("the password cannot be hashed"))?;
    Ok(ScramCredentialUpsertion {
        name: user.into(),
        mechanism: number(mechanism),
        iterations,
        salt: salt.to_vec().into(),
        salted_password: salted.into(),
        ..Default::default()
    })
}

/// `Hi` of RFC 5802: PBKDF2 with one block.
fn salted_password<M: Mac + hmac::digest::KeyInit + Clone>(
    password: &[u8],
    salt: &[u8],
    iterations: i32,
) -> Option<Vec<u8>> {
    let mac = <M as Mac>::new_from_slice(password).ok()?;
    let step = |input: &[&[u8]]| {
        let mut mac = mac.clone();
        input.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    };
    let mut block = step(&[salt, &1u32.to_be_bytes()]);
    let mut result = block.clone();
    for _ in 1..iterations {
        block = step(&[&block]);
        for (byte, other) in result.iter_mut().zip(&block) {
            *byte ^= other;
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salted_password_is_that_of_rfc_7677() {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        // The example of RFC 7677: user "user", password "pencil", 4096 iterations; the server key that
        // follows from the salted password signs the messages there.
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = salted_password::<Hmac<Sha256>>(b"pencil", &salt, 4096).unwrap();
        let sign = |key: &[u8], text: &str| {
            let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap();
            mac.update(text.as_bytes());
            mac.finalize().into_bytes().to_vec()
        };
        let messages = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
             r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
             c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = sign(&sign(&salted, "Server Key"), messages);
        assert_eq!(STANDARD.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn settings_without_a_password_are_refused() {
        assert!(upsertion("u", "SCRAM-SHA-256", "iterations=4096").is_err());
        assert!(upsertion("u", "SCRAM-SHA-256", "iterations=1,password=x").is_err());
        let made = upsertion("u", "SCRAM-SHA-512", "password=x").unwrap();
        assert_eq!((made.mechanism, made.salted_password.len()), (2, 64));
    }
}
