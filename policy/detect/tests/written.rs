//! Values inside texts that write them otherwise, or that have names for them.

mod looking;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meshbridge_detect::tape::TapeBuffer;
use meshbridge_detect::{Class, ClassSet, Confidence, Finding, Scanner};

use looking::look;

/// In a string of JSON the part between `⟦` and `⟧` is what there is, of this class, and found to its last character.
#[track_caller]
fn finds(class: &str, text: &str) {
    check(&format!(r#"{{"x":{}}}"#, serde_json::to_string(text).expect("text")), class);
}

#[track_caller]
fn check(event: &str, class: &str) {
    let class = Class::named(class).expect(class);
    let start = event.find('⟦').expect("a mark");
    let end = event.find('⟧').expect("a mark") - '⟦'.len_utf8();
    let event = event.replace(['⟦', '⟧'], "");
    let found = look(&event);
    let is = |finding: &Finding| finding.range == (start as u32..end as u32);
    assert!(found.iter().any(|finding| finding.class == class && is(finding)), "{event}: {found:?}");
    assert_eq!(found.len(), 1, "{event}: {found:?}");
}

#[track_caller]
fn clean(text: &str) {
    let event = format!(r#"{{"x":{}}}"#, serde_json::to_string(text).expect("text"));
    assert_eq!(look(&event), [], "{event}");
}

#[test]
fn references_of_html() {
    finds("payment.card", "<td>⟦&#52;111&#x31;111&#49;111&#49;111⟧</td>");
    finds("payment.card", "paid with ⟦4111&nbsp;1111&nbsp;1111&nbsp;1111⟧ &amp; more");
    finds("contact.email", "⟦anna&#64;example&period;com⟧");
    finds("contact.email", "⟦anna&commat;example.com⟧");
    finds("contact.phone", "<b>⟦&plus;49&#32;30&#32;901820⟧</b>");
    clean("<td>&#169; 2026 ACME &amp; Co&nbsp;KG, 100&#37; cotton</td><td>4111&#59;</td>");
    // What stands there as it is needs no decoding.
    let found = look(r#"{"x":"&quot;anna@example.com&quot;&#33;"}"#);
    assert!(matches!(found.as_slice(), [one] if !one.nested), "{found:?}");
}

#[test]
fn escapes_of_programs() {
    finds("payment.card", r"pan=⟦\u0034111111111111111⟧");
    finds("payment.card", r"⟦\x34\x31\x31\x31111111111111⟧");
    finds("payment.card", r"row 1\n⟦4111111111111111⟧\n");
    finds("contact.email", r"⟦anna\x40example.com⟧");
    finds("contact.email", r"⟦anna\u{40}example.com⟧");
    finds("contact.email", r#"{\"to\": \"⟦anna@example.com⟧\""#);
    clean(r"C:\temp\new\x64\report_2026.txt \d{4}-\d{2} \u00e4");
}

#[test]
fn quoted_printable() {
    finds("contact.email", "Gr=C3=BC=C3=9Fe von ⟦anna=40example=2Ecom⟧ ok=20\r\n");
    finds("payment.card", "card=3D 1\r\n⟦4111 1111 11=\r\n11 1111⟧\r\n");
    finds("contact.email", "to ⟦anna=40example.com⟧\n");
    clean("a=10&b=20&c=3345 size=40x40, n=C3, 1+1=2");
}

#[test]
fn base64_of_wide_characters() {
    let text = "card 4111111111111111; Gr\u{fc}\u{df}e";
    for encoded in [
        STANDARD.encode(text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
        STANDARD.encode(text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>()),
        STANDARD
            .encode(format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
    ] {
        finds("payment.card", &format!("⟦{encoded}⟧"));
    }
}

#[test]
fn cells_of_csv_are_what_the_titles_say() {
    finds("person.name", "id,first_name,qty\n1,⟦Anna⟧,2\n");
    finds("person.name", "id;name;email\n1;\"⟦Schmidt, Anna⟧\";\n");
    finds("person.birth-date", "id\tdob\r\n17\t⟦1987-05-12⟧\r\n");
    finds("gov-id.us.ssn", "id|qty|ssn|city\n1|2|⟦536221234⟧|Berlin");
    finds("contact.phone", "id,qty,Phone Number,city\n104,5,⟦030 901820⟧,Berlin\n");
    finds("gov-id.nl.bsn", &format!("⟦{}⟧", STANDARD.encode("id,bsn\n1,111222333\n")));
    clean("id,name,price\n1,bolt,4.95\n2,nut,1.10\n");
    clean("sku,qty\n536221234,2\n");
    // A line of words is no line of titles.
    clean("note: phone none, address unknown\nsee 39 Main Street, the old one\n");
}

#[test]
fn cells_of_rows_are_what_the_columns_are_called() {
    check(r#"{"columns":["id","first_name"],"rows":[[1,"⟦Anna⟧"]]}"#, "person.name");
    check(r#"{"rows":[["x",1,"⟦Anna⟧"]],"header":["id","qty","surname"]}"#, "person.name");
    check(r#"{"t":[["id","ssn"],[1,"⟦536221234⟧"]]}"#, "gov-id.us.ssn");
    check(r#"{"fields":[{"name":"dob","type":"DATE"}],"rows":[["⟦1987-05-12⟧"]]}"#, "person.birth-date");
    check(r#"{"columns":["name","email"],"rows":[["⟦Anna⟧",null]]}"#, "person.name");
    for event in [
        r#"{"columns":["id","name","price"],"rows":[[536221234,"Anna",4.95]]}"#,
        r#"{"columns":["first_name"],"rows":[[1,"Anna"]]}"#,
        r#"{"t":[["Anna","phone"],["Berta",7]],"u":[[],[1]],"v":[[[1]]]}"#,
        r#"{"columns":"first_name","rows":[["Anna"]]}"#,
        r#"{"columns":[[]],"rows":[["Anna"]]}"#,
    ] {
        assert_eq!(look(event), [], "{event}");
    }
}

#[test]
fn texts_name_their_values() {
    for text in [
        "<customer><firstName>⟦Anna⟧</firstName></customer>",
        "<c:firstName xmlns:c=\"urn:x\">⟦Anna⟧</c:firstName>",
        "<firstName><![CDATA[⟦Anna⟧]]></firstName>",
        "<tr><th>фамилия</th><td>⟦Иванова⟧</td></tr>",
        "<dt>First name</dt> <dd>⟦Anna⟧</dd>",
        "<field name=\"firstName\">⟦Anna⟧</field>",
        "<input name=\"firstName\" type=\"text\" value=\"⟦Anna⟧\"/>",
        "<user id=\"7\" first_name='⟦Anna⟧' n=\"2\"/>",
        "update first_name=\"⟦Anna⟧\" in 12 ms",
        "[user]\nfirst_name = '⟦Anna⟧'\n",
        "user:\n  n: 1\n  first_name: ⟦Anna⟧\n",
        "request {\"n\": 3, \"firstName\": \"⟦Anna⟧\"} took 3 ms",
        "\"first_name\":\"⟦Anna⟧\", \"n\": 3",
        "GET /x?id=17&first_name=⟦%41nna⟧&n=3",
    ] {
        finds("person.name", text);
    }
    finds("contact.address", "Address%20Line%201=⟦12%20Main+Street⟧&n=3");
    finds("contact.address", "a=1&street=⟦12%20Main+Street%2C%20Leeds⟧&n=3");
    clean("<tr><th>Address</th><th>Postal code</th></tr><tr><td>street</td><td>in progress</td></tr>");
    clean("<line>Main street</line><city>Los Angeles</city><dt>First name</dt><dt>Nobody</dt>");
    clean("<product><name>Anna</name></product> class=\"a\" title=\"First\" fileName=\"Anna\"");
    clean("at 12:00: retry: first: x => y, a == b, {} [] {\"n\": 1} [{\"m\": 2}]");
}

/// Each of these made something look ahead from every place in a text.
#[test]
fn long_hostile_text_takes_no_more_than_linear_time() {
    for part in [
        "&#52;",
        "&nbsp;",
        "&#",
        "&&",
        "\\u0034",
        "\\",
        "\\n4",
        "=34=34",
        "=\n",
        "=3D",
        "a=",
        "a=\"",
        "<a>",
        "<a b=",
        "</a>",
        "><",
        "a: ",
        "a\n",
        "name: ",
        "\"name\":",
        "{\"",
        "[{",
        "{",
        "}{",
        "a,b\n",
        "name,",
        "|",
        "\t1",
        "1_",
        "1  ",
        "1--",
        "1 - ",
        "<1A",
        "<<",
        "IBAN",
        "Tel+",
        "DE89",
        "DE_",
        "x/1",
        "/users/",
        "(1)",
        "8(1)",
        "²",
        "①",
    ] {
        for before in ["", "first_name,ssn\n", "<dob>", "{\"dob\":\"", "a=3D\n"] {
            let text = format!("{before}{}", part.repeat(60_000 / part.len()));
            let mut found = Vec::new();
            // Over budget is an answer too.
            _ = Scanner::new().scan_value(&text, Some("name"), &ClassSet::ALL, Confidence::Low, &mut found);
            for finding in found {
                assert!(text.get(finding.range.start as usize..finding.range.end as usize).is_some());
            }
        }
    }
}

#[test]
fn many_rows_and_columns_take_no_more_than_linear_time() {
    let titles = format!("[{}\"{}\"]", "\"first_name\",".repeat(2_000), "first_name".repeat(9));
    let row = format!("[{}1]", "\"Anna\",".repeat(100));
    for event in [
        format!(r#"{{"columns":{titles},"rows":[{row}{}]}}"#, format!(",{row}").repeat(300)),
        format!("[{titles}{}]", ",[]".repeat(50_000)),
        format!("{}{}", "[".repeat(60), "]".repeat(60)),
        format!("[{}[]]", "[[\"ssn\"]],".repeat(20_000)),
    ] {
        let mut buffer = TapeBuffer::new();
        let tape = buffer.parse(&event).expect("JSON");
        let mut found = Vec::new();
        Scanner::new().scan_json(&tape, &ClassSet::ALL, Confidence::Low, &mut found).expect("in budget");
    }
}
