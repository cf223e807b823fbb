//! The key file.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use fermata_engine::audit::{KeyError, SigningKey};

use crate::process::Trouble;

/// The key of that file, which is made when it is not there.
///
/// Two processes may begin at once: a file appears whole or not at all, and whoever comes second reads the first one's.
pub(crate) fn signing_key(path: &Path) -> Result<SigningKey, Trouble> {
    let unfit = |error: KeyError| {
        Trouble::failed(format!("{} cannot sign the audit trail", path.display())).why(error.to_string())
    };
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(Trouble::file("cannot read the key", path, &error)),
        Ok(pem) => return SigningKey::from_pem(&pem).map_err(unfit),
    }
    let made = |error: &std::io::Error| Trouble::file("cannot keep a new key in", path, error);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| made(&error))?;
    }
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let pem = SigningKey::generate().map_err(unfit)?;
    let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft);
    written.and_then(|mut file| file.write_all(pem.as_bytes()).and_then(|()| file.sync_all())).map_err(|e| made(&e))?;
    let placed = std::fs::hard_link(&draft, path);
    drop(std::fs::remove_file(&draft));
    match placed {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(made(&error)),
        _ => {
            let pem = std::fs::read_to_string(path).map_err(|error| made(&error))?;
            SigningKey::from_pem(&pem).map_err(unfit)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("fermata-audit-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        let folder = folder();
        let path = folder.join("deep/audit-key.pem");
        let first = signing_key(&path).unwrap();
        assert_eq!(signing_key(&path).unwrap().public(), first.public());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_and_stays_as_it_is() {
        let folder = folder();
        let path = folder.join("key");
        std::fs::write(&path, "hello").unwrap();
        assert!(signing_key(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "hello");
    }
}
