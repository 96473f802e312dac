//! The variable syntax itself: a text is parsed once into parts, then evaluated; only the branch that is used is evaluated.

use thiserror::Error;

use crate::yaml::quote;

/// Defaults inside defaults are read this deep.
const NESTING: usize = 32;

/// A parsed text.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Variable { name: String, form: Form },
}

#[derive(Debug, Clone, PartialEq)]
enum Form {
    Plain,
    /// `:-`, `-`
    Default(Condition, Vec<Part>),
    /// `:?`, `?`
    Required(Condition, Vec<Part>),
    /// `:+`, `+`
    Alternative(Condition, Vec<Part>),
}

/// What counts as missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Unset,
    UnsetOrEmpty,
}

/// An evaluated text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expanded {
    /// The text.
    pub text: String,
    /// Whether the text names a variable at all.
    pub touched: bool,
    /// Whether the value of a variable, and not only a default, is part of it.
    pub from_variable: bool,
    /// Variables without value and default, each once, in order.
    pub unset: Vec<String>,
}

/// Why a text could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// `${` that is none of the forms.
    #[error("{what} in {shown}; a literal dollar sign is written `$$`")]
    Syntax {
        /// What is wrong.
        what: &'static str,
        /// The piece of text, quoted.
        shown: String,
    },
    /// `:?` or `?` without a value.
    #[error("the variable {} is required{}{message}", quote(name), if message.is_empty() { "" } else { ": " })]
    Required {
        /// The variable.
        name: String,
        /// What the author of the file says about it.
        message: String,
    },
    /// The result would be too long.
    #[error("variables expand to more than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
}

impl Template {
    /// Parses a text.
    ///
    /// A `$` that is followed by neither `$`, `{` nor the start of a name is literal. Inside `${V:-…}` plain braces nest.
    ///
    /// # Errors
    /// [`Problem::Syntax`] for a `${` that does not parse.
    pub fn parse(text: &str) -> Result<Template, Problem> {
        let mut parser = Parser { text, at: 0 };
        Ok(Template { parts: parser.parts(0, None)? })
    }

    /// Evaluates the template; the result has at most `limit` bytes.
    ///
    /// # Errors
    /// [`Problem::Required`] or [`Problem::TooLong`].
    pub fn expand(&self, lookup: &dyn Fn(&str) -> Option<String>, limit: usize) -> Result<Expanded, Problem> {
        let mut expanded = Expanded::default();
        evaluate(&self.parts, lookup, limit, &mut expanded)?;
        Ok(expanded)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn syntax(&self, what: &'static str, from: usize) -> Problem {
        Problem::Syntax { what, shown: quote(self.text.get(from..).unwrap_or_default()) }
    }

    /// Parses up to the end, or, inside a variable that began at `opened`, up to and with its closing brace.
    fn parts(&mut self, depth: usize, opened: Option<usize>) -> Result<Vec<Part>, Problem> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut braces = 0usize;
        loop {
            let rest = self.rest();
            let Some(c) = rest.chars().next() else {
                if let Some(from) = opened {
                    return Err(self.syntax("`${` is not closed", from));
                }
                break;
            };
            match c {
                '$' if rest.starts_with("$$") => {
                    literal.push('$');
                    self.at += 2;
                }
                '$' => match self.variable(depth)? {
                    Some(part) => {
                        flush(&mut literal, &mut parts);
                        parts.push(part);
                    }
                    None => {
                        literal.push('$');
                        self.at += 1;
                    }
                },
                '}' if opened.is_some() && braces == 0 => {
                    self.at += 1;
                    break;
                }
                _ => {
                    match c {
                        '{' => braces += 1,
                        '}' => braces = braces.saturating_sub(1),
                        _ => {}
                    }
                    let special = |(_, c): &(usize, char)| matches!(c, '$' | '{' | '}');
                    let plain = rest.char_indices().skip(1).find(special).map_or(rest.len(), |(index, _)| index);
                    literal.push_str(rest.get(..plain).unwrap_or_default());
                    self.at += plain;
                }
            }
        }
        flush(&mut literal, &mut parts);
        Ok(parts)
    }

    /// A variable at a `$`; `None` when that dollar sign is literal.
    fn variable(&mut self, depth: usize) -> Result<Option<Part>, Problem> {
        let from = self.at;
        let after = self.text.get(self.at + 1..).unwrap_or_default();
        if let Some(braced) = after.strip_prefix('{') {
            if depth >= NESTING {
                return Err(self.syntax("defaults stand too deep in each other", from));
            }
            let name = name_at_start(braced);
            if name.is_empty() {
                return Err(self.syntax("a variable name has to follow `${`", from));
            }
            self.at += 2 + name.len();
            let form = self.form(depth, from)?;
            return Ok(Some(Part::Variable { name: name.to_owned(), form }));
        }
        let name = name_at_start(after);
        if name.is_empty() {
            return Ok(None);
        }
        self.at += 1 + name.len();
        Ok(Some(Part::Variable { name: name.to_owned(), form: Form::Plain }))
    }

    /// What follows the name inside braces, the closing brace included.
    fn form(&mut self, depth: usize, from: usize) -> Result<Form, Problem> {
        let rest = self.rest();
        if rest.starts_with('}') {
            self.at += 1;
            return Ok(Form::Plain);
        }
        if rest.is_empty() {
            return Err(self.syntax("`${` is not closed", from));
        }
        let (condition, operator) = match rest.strip_prefix(':') {
            Some(after) => (Condition::UnsetOrEmpty, after),
            None => (Condition::Unset, rest),
        };
        let form: fn(Condition, Vec<Part>) -> Form = match operator.chars().next() {
            Some('-') => Form::Default,
            Some('?') => Form::Required,
            Some('+') => Form::Alternative,
            _ => return Err(self.syntax("after the name `}`, `:-`, `-`, `:?`, `?`, `:+` or `+` has to follow", from)),
        };
        self.at += rest.len() - operator.len() + 1;
        let word = self.parts(depth + 1, Some(from))?;
        Ok(form(condition, word))
    }
}

fn flush(literal: &mut String, parts: &mut Vec<Part>) {
    if !literal.is_empty() {
        parts.push(Part::Text(std::mem::take(literal)));
    }
}

fn name_at_start(text: &str) -> &str {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return "";
    }
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

fn evaluate(parts: &[Part], lookup: Lookup<'_>, limit: usize, out: &mut Expanded) -> Result<(), Problem> {
    for part in parts {
        match part {
            Part::Text(text) => push(out, text, limit)?,
            Part::Variable { name, form } => {
                out.touched = true;
                variable(name, form, lookup, limit, out)?;
            }
        }
    }
    Ok(())
}

fn variable(name: &str, form: &Form, lookup: Lookup<'_>, limit: usize, out: &mut Expanded) -> Result<(), Problem> {
    let value = lookup(name);
    let present = |condition: Condition| match condition {
        Condition::Unset => value.is_some(),
        Condition::UnsetOrEmpty => value.as_deref().is_some_and(|value| !value.is_empty()),
    };
    match form {
        Form::Plain => match value {
            Some(value) => put(out, &value, limit),
            None => {
                if !out.unset.iter().any(|known| known == name) {
                    out.unset.push(name.to_owned());
                }
                Ok(())
            }
        },
        Form::Default(condition, word) if !present(*condition) => evaluate(word, lookup, limit, out),
        Form::Required(condition, word) if !present(*condition) => {
            let mut message = Expanded::default();
            evaluate(word, lookup, limit, &mut message)?;
            Err(Problem::Required { name: name.to_owned(), message: message.text })
        }
        Form::Default(..) | Form::Required(..) => put(out, value.as_deref().unwrap_or_default(), limit),
        Form::Alternative(condition, word) if present(*condition) => evaluate(word, lookup, limit, out),
        Form::Alternative(..) => Ok(()),
    }
}

fn put(out: &mut Expanded, value: &str, limit: usize) -> Result<(), Problem> {
    out.from_variable |= !value.is_empty();
    push(out, value, limit)
}

fn push(out: &mut Expanded, text: &str, limit: usize) -> Result<(), Problem> {
    if out.text.len() + text.len() > limit {
        return Err(Problem::TooLong { limit });
    }
    out.text.push_str(text);
    Ok(())
}
