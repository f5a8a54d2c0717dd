//! JSON Schemas that `validate` names: files of the policies, by path or by digest, compiled once. Nothing is fetched.

mod keywords;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::SourceFile;

pub(crate) use keywords::nearest as nearest_keyword;

/// A compiled schema.
pub(crate) struct Schema {
    /// As the policies name it.
    name: String,
    validator: jsonschema::Validator,
    /// SHA-256 of the file.
    digest: [u8; 32],
    /// Where it has keywords that no draft knows, and which.
    unknown: Vec<(String, String)>,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({})", self.name)
    }
}

impl Schema {
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// JSON pointers of subschemas with keywords that ask nothing, and these.
    pub(crate) fn unknown(&self) -> &[(String, String)] {
        &self.unknown
    }

    /// Places where the data fail, as JSON pointers, and whether something is missing there; the first few.
    pub(crate) fn places(&self, data: &Value) -> Vec<(String, bool)> {
        let place = |problem: jsonschema::ValidationError<'_>| {
            let at = problem.instance_path().to_string();
            match problem.kind() {
                jsonschema::error::ValidationErrorKind::Required { property } => {
                    let name = property.as_str().unwrap_or_default().replace('~', "~0").replace('/', "~1");
                    (format!("{at}/{name}"), true)
                }
                _ => (at, false),
            }
        };
        self.validator.iter_errors(data).take(4).map(place).collect()
    }

    /// Where the data fail first, as a JSON pointer with the keyword; never a value.
    pub(crate) fn first_problem(&self, data: &Value) -> Option<String> {
        let problem = self.validator.iter_errors(data).next()?;
        let place = problem.instance_path().to_string();
        let keyword = problem.schema_path().to_string();
        let keyword = keyword.rsplit('/').next().unwrap_or_default().to_owned();
        let place = if place.is_empty() { "the data".to_owned() } else { place };
        Some(format!("{place} fails `{keyword}`"))
    }
}

/// The files that are not documents.
#[derive(Debug, Default)]
pub(crate) struct Schemas {
    /// By path.
    files: HashMap<String, Arc<str>>,
    compiled: Mutex<HashMap<String, Arc<Schema>>>,
}

/// References inside a schema are answered from the files of the policies, or not at all.
struct Local(HashMap<String, Arc<str>>);

impl jsonschema::Retrieve for Local {
    fn retrieve(
        &self,
        uri: &jsonschema::Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let wanted = uri.path().as_str().trim_start_matches('/');
        let found = self.0.iter().find(|(path, _)| path.trim_start_matches('/') == wanted);
        match found {
            Some((_, text)) if uri.scheme().as_str() == SCHEME => Ok(serde_json::from_str(text)?),
            _ => {
                Err(format!("`{uri}` is not among the files of the policies, and nothing is fetched").into())
            }
        }
    }
}

/// Schemas of the policies refer to each other by paths under this scheme; it never leaves this module.
const SCHEME: &str = "policy";

impl Schemas {
    pub(crate) fn new<'a>(files: impl Iterator<Item = &'a SourceFile>) -> Schemas {
        let files = files.map(|file| (normal(&file.name), Arc::from(file.text.as_str()))).collect();
        Schemas { files, compiled: Mutex::default() }
    }

    /// `path` is relative to the directory of the document that names it.
    pub(crate) fn by_file(&self, document: &str, path: &str) -> Result<Arc<Schema>, String> {
        let directory =
            document.rsplit_once('/').map(|(directory, _)| format!("{directory}/")).unwrap_or_default();
        self.compiled(&normal(&format!("{directory}{path}")), path)
    }

    /// The file whose SHA-256 is `digest`, in hex.
    pub(crate) fn by_digest(&self, name: &str, digest: &str) -> Result<Arc<Schema>, String> {
        let is_it =
            |text: &str| crate::hex::lower(&Sha256::digest(text.as_bytes())) == digest.to_ascii_lowercase();
        match self.files.iter().find(|(_, text)| is_it(text)) {
            Some((path, _)) => self.compiled(path, name),
            None => Err(format!("no file of the policies has the digest given for `{name}`")),
        }
    }

    /// What a digest of the policies covers beside the documents.
    pub(crate) fn canonical(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.files.values().map(|text| crate::hex::lower(&Sha256::digest(text.as_bytes()))).collect();
        all.sort();
        all
    }

    fn compiled(&self, path: &str, shown: &str) -> Result<Arc<Schema>, String> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = compiled.get(path) {
            return Ok(Arc::clone(known));
        }
        let text = self.files.get(path).ok_or_else(|| format!("there is no file `{shown}` here"))?;
        let value: Value =
            serde_json::from_str(text).map_err(|problem| format!("`{shown}` is no JSON: {problem}"))?;
        if let Some(key) = keywords::twice(text) {
            return Err(format!("`{shown}` has the key `{key}` twice in one object"));
        }
        let options = jsonschema::options()
            .with_base_uri(format!("{SCHEME}:///{}", path.trim_start_matches('/')))
            .with_retriever(Local(self.files.clone()));
        let validator =
            options.build(&value).map_err(|problem| format!("`{shown}` is no JSON Schema: {problem}"))?;
        let schema = Arc::new(Schema {
            name: shown.to_owned(),
            validator,
            digest: Sha256::digest(text.as_bytes()).into(),
            unknown: keywords::unknown(&value),
        });
        compiled.insert(path.to_owned(), Arc::clone(&schema));
        Ok(schema)
    }
}

/// `a/./b/../c` as `a/c`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." if parts.last().is_some_and(|last| !last.is_empty() && *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
