use super::*;

#[track_caller]
fn check(key: &str, class: Class) {
    assert!(Hint::of(key).says(class), "{key}: {:?}", Hint::of(key));
}

#[test]
fn names_are_read_in_any_spelling() {
    for key in [
        "cardNumber",
        "card_number",
        "CARD-NUMBER",
        "creditcardnumber",
        "PAN",
        "ccNumber",
        "卡号",
        "Kartennummer",
    ] {
        check(key, Class::CARD);
    }
    for key in [
        "firstName",
        "FIRST_NAME",
        "first name",
        "prénom",
        "Vorname",
        "氏名",
        "客户姓名",
        "customerName",
        "fullname",
    ] {
        check(key, Class::NAME);
    }
    for key in ["dob", "dateOfBirth", "birth_date", "Fødselsdato", "出生日期", "生年月日", "FechaNacimiento"]
    {
        check(key, Class::BIRTH_DATE);
    }
    check("customerPhoneNumber", Class::PHONE);
    check("userSSN", Class::US_SSN);
    check("SSNNumber", Class::US_SSN);
    check("HTTPClientIP", Class::IP);
}

#[test]
fn words_inside_other_words_say_nothing() {
    for key in ["company", "spin", "routine", "mission", "cancel", "vinyl", "telemetry", "discard", "expand"]
    {
        assert!(Hint::of(key).classes.is_empty(), "{key}: {:?}", Hint::of(key));
    }
}

#[test]
fn things_have_names_that_are_nobodys() {
    for key in ["productName", "fileName", "companyName", "eventName", "username", "hostname", "name"] {
        assert!(!Hint::of(key).says(Class::NAME), "{key}");
    }
    let customer = Hint::NONE.below(Hint::of("customer"));
    assert!(customer.below(Hint::of("name")).says(Class::NAME));
    assert!(customer.below(Hint::of("details")).below(Hint::of("name")).says(Class::NAME));
    assert!(!customer.below(Hint::of("orders")).below(Hint::of("name")).says(Class::NAME));
    assert!(!customer.below(Hint::of("preferences")).below(Hint::of("name")).says(Class::NAME));
    let product = customer.below(Hint::of("product"));
    assert!(!product.below(Hint::of("name")).says(Class::NAME));
}

#[test]
fn a_name_that_says_nothing_takes_what_is_around_it() {
    let phone = Hint::NONE.below(Hint::of("phone"));
    assert!(phone.below(Hint::of("value")).says(Class::PHONE));
    assert!(!phone.below(Hint::of("provider")).says(Class::PHONE));
    assert!(Hint::of("orderNumber").has(Hint::BENIGN));
    assert!(!Hint::of("orderPhone").has(Hint::BENIGN));
}

#[test]
fn a_change_of_case_or_a_digit_behind_a_word_hides_nothing() {
    for key in ["fName", "lName", "f_name", "FName", "custName", "Kontoinhaber", "karteninhaber", "họ tên"]
    {
        check(key, Class::NAME);
    }
    for key in ["phone1", "phone2", "Mobile1", "workPhone2", "telefoonnummer", "mobilnummer", "số điện thoại"]
    {
        check(key, Class::PHONE);
    }
    for key in ["addr1", "street1", "adresse1", "rua", "residence", "domicile", "địa chỉ", "ĐỊA CHỈ"]
    {
        check(key, Class::ADDRESS);
    }
    for key in [
        "naissance",
        "gebdat",
        "födelsedatum",
        "تاريخ الميلاد",
        "जन्म तिथि",
        "ημερομηνία γέννησης",
        "eMail",
        "birth1",
    ] {
        assert!(
            Hint::of(key).says(Class::BIRTH_DATE) || key == "eMail" && Hint::of(key).says(Class::EMAIL),
            "{key}"
        );
    }
    // Decomposed, as some systems write file names and what comes from them.
    check("pre\u{301}nom", Class::NAME);
    check("te\u{301}le\u{301}phone", Class::PHONE);
    check("fo\u{308}delsedatum", Class::BIRTH_DATE);
    check("SA_ID", Class::ZA_ID);
    assert!(Hint::of("laengengrad").has(Hint::LONGITUDE));
    for key in ["shipTo", "ship_to", "billTo", "SHIP-TO"] {
        assert!(Hint::of(key).has(Hint::PERSON), "{key}");
    }
    for key in ["sIn", "pAn", "rc1", "v2"] {
        assert!(Hint::of(key).classes.is_empty(), "{key}: {:?}", Hint::of(key));
    }
}

#[test]
fn nom_and_nombre_need_a_person_as_name_does() {
    let below = |parent: &str, key: &str| Hint::NONE.below(Hint::of(parent)).below(Hint::of(key));
    for (parent, key) in [("client", "nom"), ("cliente", "nombre"), ("paziente", "nome"), ("shipTo", "naam")]
    {
        assert!(below(parent, key).says(Class::NAME), "{parent}.{key}");
    }
    for (parent, key) in [("producto", "nombre"), ("article", "nom"), ("prodotto", "nome"), ("", "nom")] {
        assert!(!below(parent, key).says(Class::NAME), "{parent}.{key}");
    }
    check("nomClient", Class::NAME);
}

#[test]
fn the_cache_says_what_the_table_says() {
    let mut cache = KeyCache::new();
    for round in 0..3 {
        for at in 0..5000 {
            let key = format!(
                "{}{}",
                ["", "email", "orderId", "cardNumber", "aTwentyBytesLongName"][at % 5],
                at * round
            );
            let is_odd = |key: &str| key.len() % 2 == 1;
            let expected = Name { hint: Hint::of(&key), is_candidate: is_odd(&key) };
            assert_eq!(cache.name(&key, is_odd), expected, "{key}");
        }
    }
}
