//! P04 protections and classes, P05 tests, P06 keys, P07 invariants.

use super::Page;

pub(super) const PAGES: &[Page] = &[
    Page::new(
        "P0401",
        "this cannot be protected",
        "`id`, `source`, `type` and `specversion` say which event it is; everything else relies on them.",
        "A path such as `$.source` in `fields`.",
        "Match the event and deny it instead.",
    ),
    Page::new(
        "P0402",
        "no path",
        "Paths begin with `$.`, then an attribute or `data`, and below `data` `.name`, `['name']`, `[n]`, `[*]`, `.*` and `..name`.",
        "A path of another language, or one without `$.data`.",
        "Write $.subject, $.data.customer.email or $.data.items[*].card.",
    ),
    Page::new(
        "P0403",
        "a protection that is not whole",
        "An item names `classes` or `fields`, and its form needs what belongs to it: a ladder's rung, or a key.",
        "`as: encrypt` without `key`, or `as: generalise` without `to`.",
        "Add what the message names.",
    )
    .example("protect: [{classes: [payment.iban], as: encrypt}]"),
    Page::new(
        "P0404",
        "a key of another form",
        "The key has no meaning here: `keep` belongs to mask, `scope` to pseudonymise, `except` and `confidence` to classes. It is refused because it looks as if it had an effect.",
        "An `as` that was changed without its parameters.",
        "Remove the key, or use the form that it belongs to.",
    ),
    Page::new(
        "P0405",
        "a hash can be confirmed by guessing",
        "There is no key in a hash. Card numbers, phone numbers and government ids can be enumerated, so whoever sees the hash can find the value.",
        "`as: hash` where secrecy is meant.",
        "Use pseudonymise, mask or redact; a hash is for joins and integrity.",
    ),
    Page::new(
        "P0406",
        "no such class",
        "The class is not among those that detectors and Classifications know, or a family stands where one class is needed.",
        "A spelling error, or `contact` for a declared field.",
        "Take the suggestion; a field is of one class.",
    ),
    Page::new(
        "P0407",
        "no such rung",
        "Values generalise along ladders: year, month; network; degree, tenth; country; 1000, 100, 10.",
        "A rung of another ladder, or another step.",
        "Use one of the rungs.",
    ),
    Page::new(
        "P0408",
        "no such key, or a key for another use",
        "The federation document lists the keys, with one use for each, so that no use can be played against another.",
        "A key that is missing from `keys`, or one for `encrypt` in a pseudonym.",
        "Add the key to the federation document, or name one with this use.",
    ),
    Page::new(
        "P0409",
        "a key is needed where it is not held",
        "The zone that would have to make the form does not hold the key, so every event with such a value would be stopped there. The form is made where the event leaves; a zone that receives it needs the key only for what the egress of the sender leaves open, as where a rule says `at: ingress` or its layer does not speak for the sender.",
        "A permit for all zones of a topic that only some can protect, or a protection on arrival.",
        "Let such events begin only where the key is held, or protect them at egress. Adding a zone to the key lets it try values until a token fits, and open what is sealed.",
    ),
    Page::new(
        "P0410",
        "two protections that together redact",
        "Two keys, two ladders or two different forms have nothing in common but the type of the value, so where both apply the value is redacted.",
        "An inner layer that tokenises what an outer one masks.",
        "Use one key or one ladder in both, or say redact.",
    ),
    Page::new(
        "P0501",
        "a proof of a test asks one question",
        "Each entry of `proofs` names an `invariant` or asks its own `never`.",
        "Both, or neither.",
        "Make two entries of it.",
    ),
    Page::new(
        "P0502",
        "no event",
        "The event of a case is no CloudEvent, so it could never have been published.",
        "A missing `id`, `source` or `type`, or an attribute with a capital letter or a dash.",
        "Write what the message asks for; `specversion` may be left out.",
    ),
    Page::new(
        "P0503",
        "a test names what the policies do not have",
        "A case expects something of a rule or a waiver that is not there, so it could never show what it should.",
        "A rule that was renamed, or a spelling error.",
        "Write `<policy>/<rule>` as the policies have it.",
    ),
    Page::new(
        "P0604",
        "a key of the federation is not whole",
        "A key for data has a `version` and the `zones` that hold it; a key that signs has a `layer` of its own and the public half `ed25519`.",
        "Keys of the other use, a layer that has no rules of its own, or a public half that is not 32 bytes in Base64.",
        "Correct what is marked; `meshbridge policy keygen` makes keys of both kinds.",
    ),
    Page::new(
        "P0701",
        "an invariant does not hold",
        "There is a way by which a value of the class can be seen where it must never be. The shortest one is shown, with an example topic and the rules on the way; conditions on it are listed as such.",
        "A permit or an exception that was added without the protection that belongs to it.",
        "Protect or deny it at the first border of the way that is shown, or except it in the invariant if it is meant.",
    ),
    Page::new(
        "P0702",
        "an invariant cannot be decided",
        "The question is too large for the analysis, and unknown is not proved.",
        "Filters with `**` before a literal, or a question about all topics and classes at once.",
        "Rewrite the filters that are named, or ask about fewer topics or classes.",
    ),
];
