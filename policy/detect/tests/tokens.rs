//! Tokens of providers by the formats that these publish. Put together here, so that no file holds anything that looks
//! like one.

use meshbridge_detect::{Class, ClassSet, Confidence, Finding, Scanner};

fn scan(text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    Scanner::new()
        .scan_value(text, None, &ClassSet::ALL, Confidence::Medium, &mut found)
        .expect("no layers to speak of");
    found
}

/// Found alone, in a sentence and in an assignment, to its last character.
#[track_caller]
fn token(token: &str) {
    for text in [token.to_owned(), format!("rotated {token}, thanks"), format!("TOKEN=\"{token}\"")] {
        let found = scan(&text);
        let at = text.find(token).expect("it is in the text") as u32;
        let range = at..at + token.len() as u32;
        let is_covered =
            |finding: &Finding| finding.range.start <= range.start && finding.range.end >= range.end;
        assert!(
            found.iter().any(|finding| finding.class == Class::PROVIDER_TOKEN && is_covered(finding)),
            "{text}: {found:?}"
        );
    }
}

#[track_caller]
fn no_token(text: &str) {
    let found = scan(text);
    assert!(found.iter().all(|finding| finding.class != Class::PROVIDER_TOKEN), "{text}: {found:?}");
}

fn of(alphabet: &str, length: usize) -> String {
    alphabet.chars().cycle().skip(3).take(length).collect()
}

fn mixed(length: usize) -> String {
    of("aZ3kQ9xT7bLm2VnR5cYp8WdF4hJs6GtK1", length)
}

fn hex(length: usize) -> String {
    of("3fa9c1d07be2586449ac", length)
}

#[test]
fn tokens_are_known_by_their_prefixes() {
    for (prefix, body) in [
        ("gl cbt-", mixed(26)),
        ("gl agent-", mixed(50)),
        ("gl ft-", mixed(20)),
        ("xox c-", mixed(60)),
        ("xoxe.xox p-1-", mixed(146)),
        ("dor _v1_", hex(64)),
        ("shp pa_", hex(32)),
        ("sk -", mixed(48)),
        ("sk -admin-", mixed(74)),
        ("sk -or-v1-", hex(64)),
        ("sk -", hex(32)),
        ("AQ .Ab", mixed(48)),
        ("nt n_", mixed(46)),
        ("secret _", mixed(43)),
        ("dp .pt.", mixed(43)),
        ("fm2 _", mixed(120)),
        ("amzn .mws.", "3fa9c1d0-7be2-5864-49ac-3fa9c1d07be2".to_owned()),
        ("EAA ", mixed(120)),
        ("HRKU -AA", mixed(58)),
        ("xkeys ib-", hex(64) + "-" + &mixed(16)),
        ("SSWS 00", mixed(40)),
        ("cfl t", mixed(60)),
        ("ABS K", mixed(110)),
        ("ci o", mixed(32)),
        ("LT AI", mixed(20)),
        ("AK ID", mixed(32)),
        ("CFPAT -", mixed(43)),
        ("CLOJARS _", hex(60)),
        ("dt0 c01.", of("ABCDEFGH2345", 24) + "." + &of("QRSTUV7654", 64)),
        ("EZ AK", mixed(54)),
        ("fio -u-", mixed(64)),
        ("aio _", mixed(28)),
        ("lsv2 _pt_", hex(32) + "_" + &hex(10)),
        ("sq p_", hex(40)),
        ("oy 2", of("abcdefgh2345ijkl", 43)),
        ("AKC p", mixed(69)),
        ("pat -na1-", "3fa9c1d0-7be2-5864-49ac-3fa9c1d07be2".to_owned()),
        ("tskey -auth-", mixed(40)),
        ("hooks.slack.com/ services/", "T02ABCDEF/B03GHIJKLMN/".to_owned() + &mixed(24)),
        ("discord.com/ api/webhooks/", "123456789012345678/".to_owned() + &mixed(68)),
        ("AccountKey =", mixed(86) + "=="),
        ("SharedAccessKey =", mixed(43) + "="),
    ] {
        let prefix = if prefix.starts_with("SSWS") { prefix.to_owned() } else { prefix.replace(' ', "") };
        token(&format!("{prefix}{body}"));
        // What documentation has in place of one.
        no_token(&format!("{prefix}{}", "x".repeat(body.len())));
    }
}

#[test]
fn tokens_without_a_prefix_are_known_by_their_shape() {
    token(&format!("1234567890:{}{}", "AA", mixed(33)));
    token(&format!("{}-us21", hex(32)));
    token(&format!("pat{}.{}", mixed(14), hex(64)));
    token(&format!("ab3{}{}", "8Q~", mixed(34)).replacen("ab3", "abc", 1));
    token(&format!("{}.atlas{}{}", mixed(14), "v1.", mixed(67)));
    // The number of a bot, in base64.
    token(&format!("{}.{}.{}", ["MTIzNDU2Nzg5", "MDEyMzQ1Njc4"].concat(), mixed(6), mixed(38)));
    let signature = "%2BaZ3kQ9xT7bLm2VnR5cYp8WdF4hJs6GtK1aZ3kQ9xT%3D";
    let url = format!("https://acme.example/c/f?sv=2022-11-02&se=2026-01-01&sr=b&sp=r&sig={signature}");
    let found = scan(&url);
    let at = url.find(signature).expect("it is there") as u32;
    assert!(
        found.iter().any(|finding| finding.class == Class::PROVIDER_TOKEN && finding.range.start <= at),
        "{url}: {found:?}"
    );
}

#[test]
fn what_only_resembles_a_token_is_none() {
    let digest = hex(32);
    for text in [
        format!("image-{digest}-usb"),
        format!("sig={}", mixed(44)),
        "pat1234567890abcd.example".to_owned(),
        "12:34:AAbbccddeeff".to_owned(),
        "1700000000:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        format!("Mixed{}.config.json", mixed(19)),
        "hooks.slack.com/services/ is where it goes".to_owned(),
    ] {
        no_token(&text);
    }
}
