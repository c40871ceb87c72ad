//! The environment as a set of texts, with a note of what was wrong with them.

use std::{collections::HashMap, fmt};

use super::ConfigError;

/// Variables to read a [`Config`](super::Config) from. Empty ones count as absent.
#[derive(Clone, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
    problems: Vec<String>,
}

/// Silent about values: some are secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Environment {
    /// The process's environment; where that does not name a variable, the file `.env`.
    #[must_use]
    pub fn of_process() -> Self {
        let mut environment = Self::default();
        match dotenvy::dotenv_iter() {
            Ok(lines) => environment.add_file(lines),
            Err(error) if error.not_found() => {}
            Err(error) => environment.problems.push(format!(".env cannot be read: {error}")),
        }
        for (name, value) in std::env::vars_os() {
            if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
                environment.variables.insert(name, value);
            }
        }
        environment
    }

    fn add_file(&mut self, lines: impl Iterator<Item = dotenvy::Result<(String, String)>>) {
        for line in lines {
            match line {
                Ok((name, value)) => {
                    self.variables.insert(name, value);
                }
                // The error's own text quotes the line, which may hold a secret.
                Err(_) => self.problems.push(".env has a line that is not NAME=value".to_owned()),
            }
        }
    }

    /// Sets a variable, in place of what there was.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    pub(super) fn require(&mut self, name: &str, why: &str) {
        if self.get(name).is_none() {
            self.problems.push(format!("{name} is missing: {why}"));
        }
    }

    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> T {
        match self.get(name).map(parse) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(problem)) => {
                self.problems.push(format!("{name} {problem}"));
                default
            }
        }
    }

    /// The parts of a comma-separated value.
    pub(super) fn list<T, E: fmt::Display>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let parts = self.get(name).unwrap_or("").split(',').map(str::trim).filter(|part| !part.is_empty());
        match parts.map(parse).collect::<Result<_, E>>() {
            Ok(values) => values,
            Err(problem) => {
                self.problems.push(format!("{name} {problem}"));
                Vec::new()
            }
        }
    }

    pub(super) fn finish<T>(self, config: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() { Ok(config) } else { Err(ConfigError { problems: self.problems }) }
    }
}
