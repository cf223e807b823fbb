//! The parcel in which a file travels to the browser: WebDriver endpoints take one zipped file.

use super::error::BrowserError;

/// The largest file that goes through the browser.
const UPLOAD_MAX_BYTES: usize = 40 * 1024 * 1024;
/// The longest file name that goes along.
const NAME_MAX_CHARS: usize = 100;

/// A zip with one stored file, as base64.
pub(super) fn parcel(file_name: &str, bytes: &[u8]) -> Result<String, BrowserError> {
    let too_big = || BrowserError::UploadFailed { why: format!("it is larger than {UPLOAD_MAX_BYTES} bytes") };
    if bytes.len() > UPLOAD_MAX_BYTES {
        return Err(too_big());
    }
    let size = u32::try_from(bytes.len()).map_err(|_| too_big())?;
    let name = safe_name(file_name);
    let zip = zip(name.as_bytes(), bytes, size).ok_or_else(too_big)?;
    Ok(thirtyfour::support::base64_encode(&zip))
}

/// The last part of the name, without anything that a path or a key press would take for its own.
fn safe_name(file_name: &str) -> String {
    let last = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ' '))
        .filter(|c| u32::from(*c) <= 0xffff)
        .take(NAME_MAX_CHARS)
        .collect();
    if kept.trim_matches(['.', ' ']).is_empty() {
        return "file".to_owned();
    }
    kept
}

/// PKWARE's APPNOTE, the part that one uncompressed file needs.
fn zip(name: &[u8], bytes: &[u8], size: u32) -> Option<Vec<u8>> {
    const VERSION: [u8; 2] = 20_u16.to_le_bytes();
    const UTF8_NAMES: [u8; 2] = 0x0800_u16.to_le_bytes();
    const NONE: [u8; 2] = [0; 2];
    let name_length = u16::try_from(name.len()).ok()?.to_le_bytes();
    let mut common = Vec::new();
    for part in [VERSION, UTF8_NAMES, NONE, NONE, NONE] {
        common.extend(part); // version needed, flags, method, time, date
    }
    common.extend(crc32(bytes).to_le_bytes());
    common.extend(size.to_le_bytes());
    common.extend(size.to_le_bytes());
    common.extend(name_length);
    common.extend(NONE); // extra field

    let mut out = b"PK\x03\x04".to_vec();
    out.extend(&common);
    out.extend(name);
    out.extend(bytes);
    let directory_at = u32::try_from(out.len()).ok()?;
    out.extend(b"PK\x01\x02");
    out.extend(VERSION);
    out.extend(&common);
    out.extend([0; 14]); // comment, disk, attributes, offset of the only file: 0
    out.extend(name);
    let directory_size = u32::try_from(out.len()).ok()? - directory_at;
    out.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    out.extend(directory_size.to_le_bytes());
    out.extend(directory_at.to_le_bytes());
    out.extend(NONE);
    Some(out)
}

fn crc32(bytes: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|index| {
        let mut entry = u32::try_from(index).unwrap_or_default();
        for _ in 0..8 {
            entry = if entry & 1 == 1 { (entry >> 1) ^ 0xedb8_8320 } else { entry >> 1 };
        }
        entry
    });
    let folded = bytes.iter().fold(u32::MAX, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        table[usize::from(low ^ byte)] ^ (crc >> 8)
    });
    !folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_zip_means() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_file_name_cannot_leave_its_folder() {
        assert_eq!(safe_name("../../etc/passwd"), "passwd");
        assert_eq!(safe_name("C:\\photos\\a b.jpg"), "a b.jpg");
        assert_eq!(safe_name(".."), "file");
    }
}
