//! Files of objects as values: the documents of YAML, the values of JSON, one after the other, each with its place.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::admission::FieldFault;

/// Of the words of a parser, in characters.
const MAX_WORDS: usize = 300;

/// Where something is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePlace {
    /// As it was named.
    pub file: Arc<str>,
    /// Where it begins.
    pub line: usize,
    /// Which document of the file, where there are several.
    pub document: Option<usize>,
    /// Which item of a list.
    pub item: Option<usize>,
}

impl fmt::Display for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, document, item } = self;
        write!(f, "{file}:{line}")?;
        match (document, item) {
            (None, None) => Ok(()),
            (Some(document), None) => write!(f, " (document {document})"),
            (None, Some(item)) => write!(f, " (item {item})"),
            (Some(document), Some(item)) => write!(f, " (document {document}, item {item})"),
        }
    }
}

/// What is wrong with a file, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {wrong}")]
pub struct InputFault {
    /// Where.
    pub place: FilePlace,
    /// What.
    pub wrong: String,
}

impl InputFault {
    /// Something is wrong there.
    pub fn new(place: &FilePlace, wrong: impl Into<String>) -> Self {
        Self { place: place.clone(), wrong: wrong.into() }
    }

    /// The API server would refuse this object.
    pub fn refused(place: &FilePlace, object: &Value, faults: &[FieldFault]) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("without a name");
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or("object");
        let lines: String = faults.iter().map(|fault| format!("\n  {fault}")).collect();
        let name = cut(text("/metadata/name"));
        Self::new(place, format!("a cluster would refuse this {kind}, {name}:{lines}"))
    }
}

/// Every value of a file, in its order. What begins with a brace or a bracket is JSON, everything else YAML.
pub(super) fn values(file: &Arc<str>, text: &str) -> Result<Vec<(FilePlace, Value)>, InputFault> {
    let is_json = text.trim_start().starts_with(['{', '[']);
    let mut values = if is_json { json(file, text)? } else { yaml(file, text)? };
    if let [(place, _)] = values.as_mut_slice() {
        place.document = None;
    }
    Ok(values)
}

/// The values of a file, and the items of its lists, each by itself.
pub(super) fn objects(file: &Arc<str>, text: &str) -> Result<Vec<(FilePlace, Value)>, InputFault> {
    let mut objects = Vec::new();
    for (place, mut value) in values(file, text)? {
        let is_list = value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
        match value.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) if is_list => {
                let placed = |(item, value)| (FilePlace { item: Some(item), ..place.clone() }, value);
                objects.extend((1..).zip(items).map(placed));
            }
            _ if is_list => return Err(InputFault::new(&place, "this list has no items: they are at `items`")),
            Some(items) => {
                value["items"] = items;
                objects.push((place, value));
            }
            None => objects.push((place, value)),
        }
    }
    Ok(objects)
}

fn json(file: &Arc<str>, text: &str) -> Result<Vec<(FilePlace, Value)>, InputFault> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let (mut values, mut from, mut line) = (Vec::new(), 0, 1);
    loop {
        let begins = from + (text[from..].len() - text[from..].trim_start().len());
        line += text[from..begins].matches('\n').count();
        let place = FilePlace { file: file.clone(), line, document: Some(values.len() + 1), item: None };
        match stream.next() {
            None => return Ok(values),
            Some(Ok(value)) => values.push((place, value)),
            Some(Err(fault)) => {
                let place = FilePlace { line: fault.line(), ..place };
                return Err(InputFault::new(&place, format!("not JSON: {}", cut(&fault.to_string()))));
            }
        }
        let ends = stream.byte_offset();
        line += text[begins..ends].matches('\n').count();
        from = ends;
    }
}

fn yaml(file: &Arc<str>, text: &str) -> Result<Vec<(FilePlace, Value)>, InputFault> {
    let mut values = Vec::new();
    for (number, (line, document)) in (1..).zip(documents(text)) {
        let place = FilePlace { file: file.clone(), line, document: Some(number), item: None };
        // Whoever names a file means it: its size is no attack.
        let options = serde_saphyr::options! { budget: None };
        let value: Value = serde_saphyr::from_str_with_options(document, options).map_err(|fault| {
            let (within, words) = yaml_fault(&fault);
            let place = FilePlace { line: line + within.saturating_sub(1), ..place.clone() };
            InputFault::new(&place, format!("not YAML: {words}"))
        })?;
        values.push((place, value));
    }
    Ok(values)
}

/// The line of a fault, and its words without it.
pub(crate) fn yaml_fault(fault: &serde_saphyr::Error) -> (usize, String) {
    let line = fault.location().map_or(1, |location| usize::try_from(location.line()).unwrap_or(1));
    // Its first line: what follows quotes the file.
    let words = fault.to_string();
    let words = words.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let placed = words.strip_prefix("line ").and_then(|rest| rest.split_once(": "));
    (line, cut(placed.map_or(words, |(_, words)| words)))
}

/// The documents that have more than comments, and the lines at which they begin.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let (mut documents, mut from, mut line, mut at) = (Vec::new(), 0, 1, 0);
    let mut number = 0;
    for piece in text.split_inclusive('\n') {
        number += 1;
        let is_border = piece.trim_end() == "---" || piece.starts_with("--- ");
        if is_border {
            documents.push((line, &text[from..at]));
            (from, line) = (at + piece.len(), number + 1);
        }
        at += piece.len();
    }
    documents.push((line, &text[from..]));
    let says = |(_, document): &(usize, &str)| {
        document.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    };
    documents.retain(says);
    documents.into_iter().map(from_its_first_line).collect()
}

fn from_its_first_line((line, document): (usize, &str)) -> (usize, &str) {
    let skipped = document.lines().take_while(|line| line.trim().is_empty()).count();
    let bytes: usize = document.split_inclusive('\n').take(skipped).map(str::len).sum();
    (line + skipped, &document[bytes..])
}

/// Text of a file for a message: no control characters, not too long.
pub(crate) fn cut(text: &str) -> String {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<String> {
        objects(&"f".into(), text).unwrap().iter().map(|(place, _)| place.to_string()).collect()
    }

    #[test]
    fn every_object_has_its_place() {
        assert_eq!(places("# nothing\n---\n\na: 1\n---\nb: 2\n"), ["f:4 (document 1)", "f:6 (document 2)"]);
        assert_eq!(places("a: |\n  x\n"), ["f:1"]);
        assert_eq!(
            places("{\"a\":1}\n{\"b\":\n2}\n\n{}"),
            ["f:1 (document 1)", "f:2 (document 2)", "f:5 (document 3)"]
        );
        assert_eq!(places(r#"{"kind":"List","items":[{},{}]}"#), ["f:1 (item 1)", "f:1 (item 2)"]);
        assert_eq!(places(""), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        let wrong = |text: &str| values(&"f".into(), text).unwrap_err().to_string();
        assert!(wrong("a: 1\n---\nb: [1\nc: 2\n").starts_with("f:"), "{}", wrong("a: 1\n---\nb: [1\nc: 2\n"));
        assert!(wrong("{\"a\":1}\n{\"a\" 2}").starts_with("f:2 (document 2): not JSON: "));
    }
}
