//! Requests to the hub: what a file is, and the answer that its bytes come in.
//!
//! Redirects are followed here and not by the HTTP client, for two reasons: the hash of a large file stands on the
//! redirect to the storage, and the token must not travel there. Invariant: the token is sent to the origin of the
//! endpoint only.

use std::time::Duration;

use ureq::{
    Agent, Body,
    http::{HeaderMap, Response, header},
};

use super::{
    Hub,
    id::{ModelId, is_commit},
};
use crate::error::{Error, Result};

/// Redirects from the address of a file to its bytes.
const MAX_HOPS: usize = 8;

/// A file of the hub.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Names the blob: SHA-256, git's SHA-1, or what a mirror likes.
    pub etag: String,
    /// Bytes, where the server says it.
    pub size: Option<u64>,
}

/// What the hub says of a file.
#[derive(Debug)]
pub enum Answer {
    /// It is there, in this commit.
    Found {
        /// The commit that the revision is.
        commit: String,
        /// What the file is.
        remote: Remote,
    },
    /// The revision does not have it.
    Absent {
        /// The commit that the revision is, where the server says it.
        commit: Option<String>,
    },
    /// There is no answer, for this reason.
    Unreachable(String),
}

/// Asks for the files of one model.
pub struct Client<'a> {
    pub(super) hub: &'a Hub,
    pub(super) id: &'a ModelId,
    agent: Agent,
}

impl<'a> Client<'a> {
    /// A client for this model; nothing is asked yet.
    pub fn new(hub: &'a Hub, id: &'a ModelId) -> Self {
        let agent = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("lift/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(Duration::from_secs(10)))
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(hub.patience))
            .timeout_per_read(Some(hub.patience))
            .build()
            .into();
        Self { hub, id, agent }
    }

    /// What `file` is at a revision.
    ///
    /// # Errors
    /// When the model or the revision is not there or not open to the user.
    pub fn ask(&self, revision: &str, file: &str) -> Result<Answer> {
        let mut url = self.url(revision, file);
        let (mut commit, mut linked_etag, mut linked_size) = (None, None, None);
        for _ in 0..MAX_HOPS {
            let request = self.authorised(self.agent.head(&url), &url);
            let response = match request.call() {
                Ok(response) => response,
                Err(error) => return Ok(Answer::Unreachable(format!("{url}: {error}"))),
            };
            let headers = response.headers();
            commit = text(headers, "x-repo-commit").or(commit);
            linked_etag = text(headers, "x-linked-etag").or(linked_etag);
            linked_size = text(headers, "x-linked-size").or(linked_size);
            let status = response.status().as_u16();
            let is_described = commit.is_some() && linked_etag.is_some() && linked_size.is_some();
            match status {
                301 | 302 | 303 | 307 | 308 if !is_described => {
                    let Some(location) = text(headers, "location") else {
                        return Err(self.unexpected(&url, "redirects to nowhere"));
                    };
                    url = join(&url, &location);
                }
                200..=399 => {
                    let etag = linked_etag.or_else(|| text(headers, "etag"));
                    let size = linked_size.or_else(|| text(headers, "content-length"));
                    return self.described(&url, commit, etag, size);
                }
                404 => {
                    let code = text(headers, "x-error-code").unwrap_or_default();
                    return match code.as_str() {
                        "RepoNotFound" => Err(self.not_found()),
                        "RevisionNotFound" => Err(self.no_such_revision(revision)),
                        _ => Ok(Answer::Absent {
                            commit: commit.filter(|commit| is_commit(commit)),
                        }),
                    };
                }
                401 | 403 => return Err(self.closed(&url, status, headers)),
                429 | 500.. => {
                    return Ok(Answer::Unreachable(format!("{url} answers {status}")));
                }
                _ => return Err(self.unexpected(&url, &format!("answers {status}"))),
            }
        }
        Err(self.unexpected(&url, "redirects without end"))
    }

    fn described(
        &self,
        url: &str,
        commit: Option<String>,
        etag: Option<String>,
        size: Option<String>,
    ) -> Result<Answer> {
        let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
        // It becomes a file's name.
        let is_name = |etag: &String| {
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
            (1..=128).contains(&etag.len()) && !etag.starts_with('.') && etag.bytes().all(is_plain)
        };
        match (
            commit.filter(|commit| is_commit(commit)),
            etag.filter(is_name),
        ) {
            (Some(commit), Some(etag)) => {
                let size = size.and_then(|size| size.parse().ok());
                let remote = Remote { etag, size };
                Ok(Answer::Found { commit, remote })
            }
            (None, _) => Err(self.unexpected(url, "does not say the commit (X-Repo-Commit)")),
            (_, None) => Err(self.unexpected(url, "does not say the file's hash (ETag)")),
        }
    }

    /// The answer with the bytes from `begin` on, behind all redirects.
    pub(super) fn get(&self, url: &str, begin: u64) -> std::result::Result<Response<Body>, String> {
        let mut url = url.to_owned();
        for _ in 0..MAX_HOPS {
            let mut request = self.authorised(self.agent.get(&url), &url);
            if begin > 0 {
                request = request.header(header::RANGE, format!("bytes={begin}-"));
            }
            let response = request.call().map_err(|error| error.to_string())?;
            match (
                response.status().as_u16(),
                text(response.headers(), "location"),
            ) {
                (301 | 302 | 303 | 307 | 308, Some(location)) => url = join(&url, &location),
                _ => return Ok(response),
            }
        }
        Err("redirects without end".into())
    }

    /// With the token, where the address is the hub's own.
    fn authorised<B>(
        &self,
        request: ureq::RequestBuilder<B>,
        url: &str,
    ) -> ureq::RequestBuilder<B> {
        let request = request.header(header::ACCEPT_ENCODING, "identity");
        match &self.hub.token {
            Some(token) if origin(url) == origin(&self.hub.endpoint) => {
                request.header(header::AUTHORIZATION, format!("Bearer {token}"))
            }
            _ => request,
        }
    }

    pub(super) fn url(&self, revision: &str, file: &str) -> String {
        let (endpoint, repo) = (&self.hub.endpoint, &self.id.repo);
        let revision = revision.replace('/', "%2F");
        format!("{endpoint}/{repo}/resolve/{revision}/{file}")
    }

    /// The model is not on the hub, so perhaps a folder was meant.
    pub fn not_found(&self) -> Error {
        let (endpoint, repo) = (&self.hub.endpoint, &self.id.repo);
        self.error(
            format!("no such file or folder, and no such model on the hub ({endpoint}/{repo})"),
            "check the path, or the spelling of the name; a private model needs HF_TOKEN",
        )
    }

    fn no_such_revision(&self, revision: &str) -> Error {
        let (endpoint, repo) = (&self.hub.endpoint, &self.id.repo);
        self.error(
            format!("the model has no revision {revision:?} on the hub"),
            &format!("its branches, tags and commits are on {endpoint}/{repo}/tree/main"),
        )
    }

    /// The hub says so of private and gated models, and to strangers also of models that do not exist.
    fn closed(&self, url: &str, status: u16, headers: &HeaderMap) -> Error {
        let (endpoint, repo) = (&self.hub.endpoint, &self.id.repo);
        let says = text(headers, "x-error-message");
        let says = says.map_or(String::new(), |says| format!(": {says}"));
        let is_gated = text(headers, "x-error-code").is_some_and(|code| code == "GatedRepo");
        let token = match self.hub.token {
            Some(_) => "the token (HF_TOKEN) may be expired or not allowed to read it",
            None => "give a token by HF_TOKEN, or log in with `hf auth login`",
        };
        if is_gated {
            return self.error(
                format!("a gated model: {url} answers {status}{says}"),
                &format!("ask for access on {endpoint}/{repo}; {token}"),
            );
        }
        self.error(
            format!(
                "no such file or folder, and no such model on the hub, or one that is private or gated: \
                 {url} answers {status}{says}"
            ),
            &format!("check the path, or the spelling of the name; {token}"),
        )
    }

    fn unexpected(&self, url: &str, what: &str) -> Error {
        self.error(format!("{url} {what}"), "is it a hub (HF_ENDPOINT)?")
    }

    pub(super) fn broken(&self, url: &str, reason: &str, hint: &str) -> Error {
        self.error(format!("cannot fetch {url}: {reason}"), hint)
    }

    fn error(&self, reason: String, hint: &str) -> Error {
        Error::hub(self.id, reason, hint)
    }
}

/// A header as text.
pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// Scheme, host and port.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']);
    end.map_or(url, |end| &url[..host + end])
}

/// Where a redirect leads.
fn join(base: &str, location: &str) -> String {
    if location.contains("://") && !location.starts_with('/') {
        return location.into();
    }
    if let Some(rest) = location.strip_prefix("//") {
        let scheme = base.split("://").next().unwrap_or("https");
        return format!("{scheme}://{rest}");
    }
    if location.starts_with('/') {
        return format!("{}{location}", origin(base));
    }
    let folder = base.rfind('/').map_or(base, |at| &base[..at]);
    format!("{folder}/{location}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_the_location_says() {
        let base = "https://hub.example:8/a/b/c";
        for (location, url) in [
            ("https://cdn.example/x?y=/z", "https://cdn.example/x?y=/z"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("/x/y?u=http://z", "https://hub.example:8/x/y?u=http://z"),
            ("d", "https://hub.example:8/a/b/d"),
        ] {
            assert_eq!(join(base, location), url);
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let hub = origin("https://hub.example/some/prefix");
        assert_eq!(hub, "https://hub.example");
        for other in [
            "http://hub.example/",
            "https://hub.example:444/",
            "https://hub.example.evil.example/",
            "https://hub.example@evil.example/",
        ] {
            assert_ne!(origin(other), hub);
        }
        assert_eq!(origin("https://hub.example?x"), hub);
    }
}
