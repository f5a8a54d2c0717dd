//! P01: documents that cannot be read, or do not say what they seem to say.

use super::Page;

pub(super) const PAGES: &[Page] = &[
    Page::new(
        "P0101",
        "the file is no document",
        "The text is not YAML 1.2, is empty where one document is expected, holds several where one belongs, or is larger than 1 MiB.",
        "A bracket or quote that is not closed, a tab in the indentation, or two documents in a federation file.",
        "Correct the place that is shown; split a large file, for several files may hold one layer.",
    ),
    Page::new(
        "P0102",
        "a part of YAML that policies do not have",
        "Anchors, aliases, merge keys, tags, nesting deeper than 32, plain `yes`, `no`, `on`, `off`, `y`, `n`, and numbers that programs read differently, such as `010`, are refused: a reviewer should see what a rule says where it stands, and no reader should take Norway for `false`.",
        "A fragment that was shared with `&` and `*`, or a country code without quotes.",
        "Write the value out, and quote words that YAML 1.1 takes for truth values.",
    )
    .example("match: {topics: [\"orders.**\"], from: {labels: {country: NO}}}   # write \"NO\""),
    Page::new(
        "P0103",
        "a key occurs twice",
        "A mapping has the same key twice, and programs differ in which of them they take.",
        "A rule that was copied and changed in part.",
        "Remove one of the two places that are shown.",
    ),
    Page::new(
        "P0104",
        "an unknown key or value",
        "The key is not part of this document, or the value is none of those that are possible here. Nothing unknown is ever ignored: a restriction with a spelling error would not restrict.",
        "A spelling error, or a key of another document or another product.",
        "Take the suggestion, or one of the keys listed; `meshbridge config schema` gives editors the whole list.",
    )
    .example("metadata: {nmae: orders, layer: federation}"),
    Page::new(
        "P0105",
        "a value of another type",
        "A text, number, list or mapping stands where something else is expected.",
        "A number or a truth value without quotes where text is meant, or one value where a list is.",
        "Write what the message asks for; quote texts that look like numbers.",
    ),
    Page::new(
        "P0106",
        "not a name",
        "Names have 1 to 63 characters out of a-z, 0-9 and -, because they become parts of ids, metrics and certificates.",
        "Capital letters, dots or underscores.",
        "Rename it, everywhere it is used.",
    ),
    Page::new(
        "P0107",
        "a number, list or size out of bounds",
        "The value is outside of what is allowed here, or a list is empty or too long. Every length is bounded, so that no document can exhaust a bridge.",
        "A typing error in a number, or a list from which the last element was removed.",
        "Keep within the bounds that the message names.",
    ),
    Page::new(
        "P0108",
        "a key of a later version",
        "The key is part of the language and not yet of this version. It is refused because a restriction that is not enforced must not look as if it were.",
        "A document written for a newer release.",
        "Remove the key, or update the bridges first.",
    ),
    Page::new(
        "P0109",
        "a key is missing",
        "The document says nothing without this key.",
        "A key that was forgotten, or indented so far that it belongs to something else.",
        "Add it; the message says what it holds.",
    ),
    Page::new(
        "P0110",
        "a name that stands for nothing",
        "A zone, bridge, attribute value or event is named that is not defined. A rule about a zone that does not exist would never apply.",
        "A spelling error, or a zone that was renamed in the federation document only.",
        "Correct the name, or add what it names.",
    )
    .example("match: {topics: [\"**\"], to: {zones: [eu-wset]}}"),
    Page::new(
        "P0111",
        "a name is taken",
        "Two documents of one kind, two rules of one policy or two segments share a name, so that records could not tell them apart.",
        "A file that was copied without a new name, or the same directory given twice.",
        "Rename one of the two places that are shown.",
    ),
    Page::new(
        "P0112",
        "the action of a rule is not whole",
        "A rule has exactly one action, and the action must ask something. Some keys exclude each other, or have no meaning with this action.",
        "Two actions in one rule, an empty `require`, or an `onError` on a permit, which an error makes absent anyway.",
        "Make two rules of it, or remove what the message names.",
    ),
    Page::new(
        "P0113",
        "an unknown placeholder",
        "Messages, patterns and bucket keys know a fixed set of placeholders. Values of the event's data are never among them, so that no message can leak what a policy protects.",
        "A spelling error, or `${event.data.…}`.",
        "Use one of the placeholders that the message lists.",
    )
    .example("message: \"${event.data.card} is not allowed\""),
    Page::new(
        "P0114",
        "no topic, or no topic filter",
        "Topics are tokens between dots. In a filter `*` is one token and `**` any number; neither is part of a token, and there is no negation.",
        "`orders.*-v1`, `orders..x`, or `!orders.**`.",
        "Write whole tokens, and exclude with `except`.",
    ),
    Page::new(
        "P0115",
        "zones have no such attribute",
        "Zones have `zone`, `region`, `cloud`, `jurisdiction` and `labels.<name>`.",
        "A plural from a selector, such as `same: [zones]`.",
        "Use one of the attributes.",
    ),
    Page::new(
        "P0116",
        "no regular expression",
        "The pattern cannot be compiled, or becomes too large. Patterns run in linear time, so there are no look-arounds and no back-references.",
        "A bracket that is not closed, or `(?=…)`.",
        "Correct the pattern; ask two things with two rules.",
    ),
    Page::new(
        "P0117",
        "a delivery option that topics do not take",
        "The combination of options for a topic has no meaning: a best-effort topic keeps nothing, so it cannot say until when.",
        "`retain` or `onDestinationFull` beside `class: best-effort`.",
        "Remove the option, or make the topic durable.",
    ),
    Page::new(
        "P0118",
        "no date and time",
        "Times are those of RFC 3339, with a zone.",
        "A date alone, or a time without `Z` or an offset.",
        "Write \"2027-01-31T00:00:00Z\", in quotes.",
    ),
    Page::new(
        "P0119",
        "a disposition that the action does not have",
        "`strip` belongs to `require` with optional attributes, `annotate` to `mode: warn`, and `protect` is never violated.",
        "An `onViolation` that was copied from another rule.",
        "Choose reject, dead-letter or quarantine, or remove the key.",
    ),
    Page::new(
        "P0120",
        "no attribute of an event",
        "Names of CloudEvents attributes have lower-case letters and digits only, so this would never be present.",
        "`dataSchema` for `dataschema`, or a header name with a dash.",
        "Write the name as it stands in the event.",
    ),
    Page::new(
        "P0121",
        "not known where the rule is judged",
        "Publisher and subscriber are authenticated principals, known only at `publish` and `egress`, or at `deliver` and `subscribe`; and there is no event at `subscribe` and `interest`. Elsewhere the condition could never be decided.",
        "A condition on a principal without `at`.",
        "Add the `at` that the message names, or ask something else.",
    ),
    Page::new(
        "P0122",
        "the schema cannot be used",
        "The schema is not among the files of the policies, is no JSON Schema, or refers to another document. Schemas are never fetched.",
        "A path that is not relative to the policies, or a `$ref` to a URL.",
        "Put the schema beside the policies, whole; name it by `file`, or by `ref` with its digest.",
    ),
    Page::new(
        "P0123",
        "no link",
        "A link is named by the zones at its ends, with a slash between them: every link between a bridge of the one and a bridge of the other is meant, both ways.",
        "The name of a bridge or of one zone, or a zone with itself.",
        "Write the two zones, such as \"eu-1/us-1\".",
    )
    .example("- {name: r, match: {topics: [\"hr.**\"], links: [eu-1]}, deny: {}}"),
    Page::new(
        "P0124",
        "links where they mean nothing",
        "A `deny` with `links` stops no event: it takes these links off the way of the events that it is about, which go another way or wait for one. So it takes no `onViolation`, no `onError` and no text for a verdict, it is judged at `egress` for the whole way and at borders only, and its `except` may name some of its own links. No other action and no waiver is about links.",
        "`links` in a `permit` or a `protect`, or `at: ingress` beside it.",
        "Do what the help says; to stop the event as well, write a second `deny` without `links`.",
    )
    .example("- {name: r, match: {topics: [\"hr.**\"], links: [\"eu-1/us-1\"]}, deny: {}, onViolation: quarantine}"),
    Page::new(
        "P0125",
        "a document that is not read",
        "Documents are read from files that end in .yaml or .yml, in lower case, and schemas from those that end in .json. What stands in another file is not in force.",
        "A file that was renamed, or a document written as JSON.",
        "Let the name of the file end in .yaml, or move the file to where no policies are.",
    ),
    Page::new(
        "P0126",
        "a keyword that no JSON Schema has",
        "Validators ignore what they do not know, so a restriction with a spelling error restricts nothing.",
        "A spelling error, or a keyword of OpenAPI such as `nullable`.",
        "Take the suggestion; begin the name of a note with `x-`.",
    )
    .example("{\"requird\": [\"id\"]}"),
];
