//! Values as those who write events vary them: in sentences, in columns, encoded, and under names that say little.

use meshbridge_detect::tape::TapeBuffer;
use meshbridge_detect::{Class, ClassSet, Confidence, Finding, Scanner};

fn look(event: &str) -> Vec<Finding> {
    let mut buffer = TapeBuffer::new();
    let tape = buffer.parse(event).expect("JSON");
    let mut found = Vec::new();
    Scanner::new()
        .scan_json(&tape, &ClassSet::ALL, Confidence::Medium, &mut found)
        .expect("no layers to speak of");
    found
}

/// `value`, as it is spelled in the event, is covered to its last character, by findings of which one is of the class.
#[track_caller]
fn covered(class: &str, event: &str, value: &str) {
    let class = Class::named(class).expect(class);
    let at = event.find(value).expect("it is in the event") as u32;
    let found = look(event);
    let is_covered = |place: u32| found.iter().any(|finding| finding.range.contains(&place));
    assert!((at..at + value.len() as u32).all(is_covered), "{event}: {found:?}");
    let has = |finding: &Finding| finding.class == class || finding.alternatives.contains(class);
    assert!(found.iter().any(has), "{event}: {found:?}");
}

#[track_caller]
fn clean(event: &str) {
    assert_eq!(look(event), [], "{event}");
}

#[test]
fn a_day_of_birth_may_have_its_ending() {
    for date in
        ["September 26th, 1977", "May 13th 1938", "26th September 1977", "3rd of May 1977", "May 1st, 1980"]
    {
        covered("person.birth-date", &format!(r#"{{"note":"born {date} in Ulm"}}"#), date);
        covered("person.birth-date", &format!(r#"{{"dob":"{date}"}}"#), date);
    }
    clean(r#"{"note":"the 4th of July 1976 was a Sunday; 2nd floor, 3rd row"}"#);
}

#[test]
fn names_of_fields_in_other_languages_and_short_ones() {
    for key in ["född", "fecha_nac", "data_nasc", "nato_il", "né_le", "tgl_lahir", "дата_народження"]
    {
        covered("person.birth-date", &format!(r#"{{"{key}":"1980-02-13"}}"#), "1980-02-13");
    }
    for key in ["contactPerson", "emergency_contact", "nextOfKin", "επώνυμο", "nama_lengkap"] {
        covered("person.name", &format!(r#"{{"{key}":"Anna Schmidt"}}"#), "Anna Schmidt");
    }
    for key in ["komórka", "τηλέφωνο", "тел", "sđt", "nomor_hp"] {
        covered("contact.phone", &format!(r#"{{"{key}":"030 1234567"}}"#), "030 1234567");
    }
    for key in ["lakcím", "διεύθυνση", "alamat", "배송지"] {
        covered("contact.address", &format!(r#"{{"{key}":"12 Main Street"}}"#), "12 Main Street");
    }
    covered("gov-id.tw.id", r#"{"twId":"J142576964"}"#, "J142576964");
}

#[test]
fn the_number_of_everybody_in_chile_has_a_dash_where_a_job_has_none() {
    covered("gov-id.cl.rut", r#"{"run":"25824836-8"}"#, "25824836-8");
    covered("gov-id.cl.rut", r#"{"a":"{\"run\":\"25276350-3\"}"}"#, "25276350-3");
    covered("gov-id.cl.rut", r#"{"note":"RUN 25824836-8"}"#, "25824836-8");
    for event in [
        r#"{"run":258248368}"#,
        r#"{"run":"258248368"}"#,
        r#"{"run_id":"25824836-8"}"#,
        r#"{"part":"25824836-8"}"#,
    ] {
        clean(event);
    }
}

#[test]
fn positions_of_machines_are_no_places_on_the_earth() {
    for event in [
        r#"{"position":[12.345,45.678]}"#,
        r#"{"robot":{"position":[13.40495,52.52001]}}"#,
        r#"{"camera":{"position":[10.5512,-4.2034,88.1045]}}"#,
        r#"{"arm":{"pose":{"position":[100.1234,20.1234]}}}"#,
        r#"{"joint":{"position":[0.1234,1.5678]}}"#,
    ] {
        clean(event);
    }
    covered("geo.point", r#"{"position":[13.40495,52.52001]}"#, "52.52001");
    covered("geo.point", r#"{"coordinates":[13.405,52.52]}"#, "52.52");
    covered("geo.point", r#"{"vehicle":{"position":[-122.4194,37.7749]}}"#, "-122.4194");
}

#[test]
fn versions_of_builds_are_no_addresses() {
    for key in ["number", "id", "name", "version"] {
        clean(&format!(r#"{{"build":{{"{key}":"24.31.118.77"}}}}"#));
    }
    clean(r#"{"build.number":"24.31.118.77"}"#);
    clean(r#"{"ua":"v=1.2.3.4"}"#);
    clean(r#"{"note":"v=10.4.11.97 is out"}"#);
    covered("network.ip", r#"{"query":"a=1&v=192.168.146.245&lang=en"}"#, "192.168.146.245");
}

#[test]
fn codes_that_are_nearly_all_letters_are_looked_at() {
    covered("payment.iban", r#"{"x":"LV71 LACB DKR1 PFXV ZODJ G"}"#, "LV71 LACB DKR1 PFXV ZODJ G");
    let prose = "the account that the customer named on the phone this morning is ";
    covered(
        "payment.iban",
        &format!(r#"{{"x":"{prose}LV71 LACB DKR1 PFXV ZODJ G"}}"#),
        "LV71 LACB DKR1 PFXV ZODJ G",
    );
    covered("gov-id.br.cnpj", r#"{"a":["IF.WWS.LUX/AWTS-54"]}"#, "IF.WWS.LUX/AWTS-54");
    covered("gov-id.br.cnpj", &format!(r#"{{"a":"{prose}IF.WWS.LUX/AWTS-54"}}"#), "IF.WWS.LUX/AWTS-54");
}

#[test]
fn a_resident_id_in_groups_may_end_in_x() {
    covered("gov-id.cn.resident-id", r#"{"x":"110105 19491231 002X"}"#, "110105 19491231 002X");
    covered("gov-id.cn.resident-id", r#"{"x":"号110105-19491231-002x。"}"#, "110105-19491231-002x");
    clean(r#"{"x":"110105 19491231 003X"}"#);
}
