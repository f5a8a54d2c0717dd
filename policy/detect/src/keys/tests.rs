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
