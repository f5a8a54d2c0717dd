//! What ladders read, and what they leave of it.

use super::generalise::generalise;
use super::*;

#[track_caller]
fn check(rung: &str, text: &str, expected: Option<&str>) {
    let (ladder, number) = Ladder::named(rung).expect("a rung");
    let given = generalise(ladder, number, text);
    assert_eq!(given.as_deref(), expected, "{rung} of {text}");
    if let Some(given) = given {
        assert_eq!(generalise(ladder, number, &given).as_deref(), expected, "{rung} of {given}, again");
        for coarser in 0..number {
            let at_once = generalise(ladder, coarser, text);
            let in_steps = generalise(ladder, coarser, &given);
            assert_eq!(at_once, in_steps, "rung {coarser} of {text} by way of {given}");
        }
    }
}

#[test]
fn dates() {
    for text in
        ["1987-05-12", "1987-05", "19870512", "1987/5/12", "12.05.1987", "1987年5月12日", "1987년 5월 12일"]
    {
        check("year", text, Some("1987"));
        check("month", text, Some("1987-05"));
    }
    check("month", "1987-05-12T10:00:00+02:00", Some("1987-05"));
    check("month", "1987-05-12 10:00", Some("1987-05"));
    check("month", "25/12/1987", Some("1987-12"));
    check("month", "12/25/1987", Some("1987-12"));
    check("month", "05/05/1987", Some("1987-05"));
    check("year", "05/06/1987", Some("1987"));
    check("month", "05/06/1987", None);
    check("month", "1987", Some("1987"));
    for text in
        ["", "yesterday", "1987-13-01", "87-05-12", "1987-05-12x", "1987-05-32", "99999999", "1-2-3-4", "号"]
    {
        check("year", text, None);
    }
}

#[test]
fn networks() {
    check("network", "203.0.113.77", Some("203.0.113.0/24"));
    check("network", "203.0.113.77/32", Some("203.0.113.0/24"));
    check("network", "10.0.0.0/8", Some("10.0.0.0/8"));
    check("network", "2001:db8:1:2:3::4", Some("2001:db8:1::/48"));
    check("network", "::ffff:203.0.113.77", Some("203.0.113.0/24"));
    for text in ["203.0.113", "203.0.113.77:80", "host", "1.2.3.4/x", "::/999"] {
        check("network", text, None);
    }
}

#[test]
fn coordinates() {
    check("degree", "48.137154", Some("48"));
    check("tenth", "48.137154", Some("48.1"));
    check("tenth", "-0.04", Some("-0.1"));
    check("degree", "-0.04", Some("-1"));
    check("degree", "-48.0", Some("-48"));
    check("tenth", "48", Some("48"));
    check("tenth", "48.137, -11.575", Some("48.1,-11.6"));
    check("degree", "48.1371549999999999999999999999999999", Some("48"));
    check("degree", "48° 8′ N", None);
    check("tenth", "-180", Some("-180"));
    for text in ["4111111111111111", "180.5", "48.1,4111111111111111", "4.111e15", "-536221234"] {
        check("tenth", text, None);
        check("degree", text, None);
    }
}

#[test]
fn amounts() {
    check("1000", "1987", Some("1000"));
    check("100", "1987.99", Some("1900"));
    check("10", "-1", Some("-10"));
    check("10", "-20", Some("-20"));
    check("10", "-20.0001", Some("-30"));
    check("10", "9", Some("0"));
    check("1000", "1.5e4", Some("15000"));
    check("100", "1.5E-4", Some("0"));
    check("10", "999999999999999999999999999999", Some("999999999999999999999999999990"));
    for text in ["1e999", "1e-999999999999", "", "-", ".5", "1.2.3", "0x10", "1,000"] {
        check("10", text, None);
    }
    check("10", &"9".repeat(41), None);
}

#[test]
fn countries() {
    check("country", "+49 30 901820", Some("+49"));
    check("country", "+1 (202) 555-0143", Some("+1"));
    check("country", "0086 138 0013 8000", Some("+86"));
    check("country", "+351212345678", Some("+351"));
    check("country", "DE89 3704 0044 0532 0130 00", Some("DE"));
    check("country", "de89370400440532013000", Some("DE"));
    for text in
        ["030 901820", "+49", "+0 1234567", "+491", "DE89", "Anna", "éa12345678901234", "+49 30 90182x"]
    {
        check("country", text, (text == "+49").then_some("+49"));
    }
}
