//! What opens a server: headers, a bearer token, a name and password, a tenant.
//!
//! Secrets stand in files, never on the command line, which everybody on the machine can read. They are read anew for
//! each request, as whoever rotates them writes to the file and tells nobody.

use crate::cli::open;
use crate::cli::render::base64::base64;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// Bytes of a file that are read.
const MOST_BYTES: u64 = 64 << 10;

/// Where they stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    /// Headers that are no secret: name and value.
    pub(crate) headers: Vec<(String, String)>,
    /// A file of headers, `Name: value` a line.
    pub(crate) headers_file: Option<PathBuf>,
    /// A file with a token.
    pub(crate) bearer: Option<PathBuf>,
    /// A file with `user:password`.
    pub(crate) basic: Option<PathBuf>,
    /// `X-Scope-OrgID`.
    pub(crate) tenant: Option<String>,
}

impl Credentials {
    /// Whether something is to be kept from others.
    pub(crate) fn has_secret(&self) -> bool {
        self.headers_file.is_some() || self.bearer.is_some() || self.basic.is_some()
    }

    /// The headers as they are now.
    pub(crate) fn headers(&self) -> Result<Vec<(String, String)>> {
        let mut headers = self.headers.clone();
        if let Some(tenant) = &self.tenant {
            headers.push(("X-Scope-OrgID".to_owned(), tenant.clone()));
        }
        if let Some(path) = &self.headers_file {
            let text = text(path)?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            for (number, line) in lines.enumerate() {
                let header = parse(line).map_err(anyhow::Error::msg);
                headers.push(header.with_context(|| format!("{}, header {}", path.display(), number + 1))?);
            }
        }
        if let Some(path) = &self.bearer {
            headers.push(("Authorization".to_owned(), format!("Bearer {}", one_line(path)?)));
        }
        if let Some(path) = &self.basic {
            let pair = one_line(path)?;
            if !pair.contains(':') {
                bail!("{} is not USER:PASSWORD", path.display());
            }
            headers.push(("Authorization".to_owned(), format!("Basic {}", base64(pair.as_bytes()))));
        }
        Ok(headers)
    }
}

/// Reads `Name: value`. Neither is told where it is wrong: it may be a secret.
pub(crate) fn parse(line: &str) -> Result<(String, String), String> {
    let Some((name, value)) = line.split_once(':') else { return Err("no `Name: value`".to_owned()) };
    let (name, value) = (name.trim(), value.trim());
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(is_name) || value.chars().any(char::is_control) {
        return Err("no `Name: value` that HTTP allows".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn one_line(path: &Path) -> Result<String> {
    let text = text(path)?;
    let line = text.trim();
    if line.is_empty() || line.chars().any(char::is_control) {
        bail!("{} does not hold one line", path.display());
    }
    Ok(line.to_owned())
}

fn text(path: &Path) -> Result<String> {
    let read = open::regular(path).and_then(|file| open::bytes(&file, MOST_BYTES));
    let bytes = read.with_context(|| format!("reading {}", path.display()))?;
    String::from_utf8(bytes).with_context(|| format!("{} is no text", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn secrets_come_from_files_as_they_are_now() {
        let folder = std::env::temp_dir().join(format!("heaptap-credentials-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = |name: &str, text: &str| {
            fs::write(folder.join(name), text).unwrap();
            Some(folder.join(name))
        };
        let credentials = Credentials {
            headers: vec![parse("X-Team: a: b").unwrap()],
            headers_file: file("headers", "# comment\nX-Key: k\n\n"),
            bearer: file("bearer", "token\n"),
            basic: file("basic", "user:pass word\n"),
            tenant: Some("t1".into()),
        };
        let text = |credentials: &Credentials| {
            let lines = credentials.headers().unwrap().into_iter().map(|(name, value)| format!("{name}: {value}"));
            lines.collect::<Vec<_>>().join("\n")
        };
        let expected = "X-Team: a: b\nX-Scope-OrgID: t1\nX-Key: k\nAuthorization: Bearer token\n\
                        Authorization: Basic dXNlcjpwYXNzIHdvcmQ=";
        assert_eq!(text(&credentials), expected);
        file("bearer", "rotated");
        assert!(text(&credentials).contains("Bearer rotated"));
        file("bearer", "two\nlines");
        let error = format!("{:#}", credentials.headers().unwrap_err());
        assert!(error.contains("one line") && !error.contains("two"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
        assert!(credentials.headers().is_err() && credentials.has_secret());
        assert!(parse("a b: c").is_err() && parse("x").is_err() && parse("a: b\u{0}").is_err());
    }
}
