//! The part of HTTP that a scraper speaks.

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Without what follows `?`.
    pub(super) path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Other,
}

/// Whether the empty line is there that ends a header.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|end| end == b"\r\n\r\n") || bytes.windows(2).any(|end| end == b"\n\n")
}

impl Request {
    /// Reads the first line; the rest of the header does not matter here.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let line = bytes.split(|byte| *byte == b'\n').next()?;
        let line = std::str::from_utf8(line).ok()?.trim_end_matches('\r');
        let mut words = line.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || method.is_empty() || !version.starts_with("HTTP/1.") {
            return None;
        }
        // As a proxy asks: http://host/path.
        let target = match target.split_once("://") {
            Some((_, rest)) => &rest[rest.find('/')?..],
            None => target,
        };
        let path = target.split(['?', '#']).next()?;
        if !path.starts_with('/') {
            return None;
        }
        let method = match method {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            _ => Method::Other,
        };
        Some(Self { method, path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_what_is_asked_for() {
        let of = |line: &str| Request::parse(format!("{line}\r\nHost: x\r\n\r\n").as_bytes());
        let request = |method, path: &str| Some(Request { method, path: path.to_owned() });
        assert_eq!(of("GET /metrics HTTP/1.1"), request(Method::Get, "/metrics"));
        assert_eq!(of("HEAD /metrics?a=b HTTP/1.0"), request(Method::Head, "/metrics"));
        assert_eq!(of("POST / HTTP/1.1"), request(Method::Other, "/"));
        assert_eq!(of("GET http://h:9/readyz HTTP/1.1"), request(Method::Get, "/readyz"));
        for wrong in
            ["", "GET", "GET /", "GET  / HTTP/1.1", "GET / HTTP/2", "GET x HTTP/1.1", "\u{0}"]
        {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
        assert_eq!(Request::parse(b"GET /\xff HTTP/1.1\r\n\r\n"), None);
    }

    #[test]
    fn a_header_ends_with_an_empty_line() {
        assert!(is_complete(b"GET / HTTP/1.1\r\n\r\n"));
        assert!(is_complete(b"GET / HTTP/1.1\n\n"));
        assert!(!is_complete(b"GET / HTTP/1.1\r\nHost: x\r\n"));
    }
}
