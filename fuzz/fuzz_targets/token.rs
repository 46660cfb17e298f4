//! Any text: no panic, a token is of one kind only, and reads as what it says.
#![no_main]

use domain::token::TOKEN_ENTROPY;
use domain::{TokenKind, TokenText};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(text) = std::str::from_utf8(input) {
        let gateway = TokenText::parse(TokenKind::Gateway, text);
        let api = TokenText::parse(TokenKind::Api, text);
        assert!(gateway.is_err() || api.is_err());
        for token in [gateway, api].into_iter().flatten() {
            assert_eq!(token.expose(), text);
        }
    }
    if let Some(entropy) = input.first_chunk::<TOKEN_ENTROPY>()
        && let Some(token) = TokenText::from_entropy(TokenKind::Gateway, entropy)
    {
        assert!(TokenText::parse(TokenKind::Gateway, token.expose()).is_ok());
        assert!(TokenText::parse(TokenKind::Api, token.expose()).is_err());
    }
});
