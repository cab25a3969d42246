//! The waiting page in a real Chromium.

#[path = "in_chromium/browser.rs"]
mod browser;
#[path = "in_chromium/cases.rs"]
mod cases;
#[path = "in_chromium/pictures.rs"]
mod pictures;
