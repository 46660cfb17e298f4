//! Cookies: read and written in one place, so that each has all its attributes.

use axum::http::{HeaderMap, HeaderValue, header};

use super::Site;

/// The value of a cookie; none when it is sent twice, for then somebody else set one of the two.
pub(super) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let sent = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut values = sent
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(found, _)| *found == name)
        .map(|(_, value)| value);
    let value = values.next()?;
    if values.next().is_some() { None } else { Some(value) }
}

/// Sets a cookie for the whole site that scripts can't read and other sites' forms don't send; `max_age` in seconds.
///
/// `value` is one of ours: base64url, without anything that ends a cookie.
pub(super) fn set(site: &Site, name: &str, value: &str, max_age: i64) -> Option<HeaderValue> {
    let secure = if site.is_secure() { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{secure}");
    HeaderValue::from_str(&text).ok()
}

/// Takes a cookie back.
pub(super) fn clear(site: &Site, name: &str) -> Option<HeaderValue> {
    set(site, name, "", 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_that_comes_twice_is_none() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("a=1; b=2"));
        assert_eq!((find(&headers, "a"), find(&headers, "b"), find(&headers, "c")), (Some("1"), Some("2"), None));
        headers.append(header::COOKIE, HeaderValue::from_static("a=3"));
        assert_eq!(find(&headers, "a"), None);
    }
}
