//! Files as the `openssl` program makes them.

use rustls_pki_types::pem::PemObject;

use super::*;
use crate::failure::Kind;
use crate::tls::inspect::check_pair;
use crate::tls::openssl::Workshop;

const EC: &str = "ec -pkeyopt ec_paramgen_curve:P-256";
const SERVER: &str = "-addext subjectAltName=DNS:a.example,DNS:*.b.example -addext basicConstraints=CA:FALSE";
const AUTHORITY: &str = "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign";

/// A root, an intermediate and a server's certificate of the names `a.example` and `*.b.example`.
struct Case {
    workshop: Workshop,
}

impl Case {
    fn new() -> Case {
        let case = Case::empty();
        case.certificate("root", EC, AUTHORITY, None);
        case.certificate("middle", EC, AUTHORITY, Some("root"));
        case.certificate("leaf", EC, SERVER, Some("middle"));
        case
    }

    fn empty() -> Case {
        let workshop = Workshop::new();
        workshop.write("empty.cnf", "[req]\ndistinguished_name=dn\n[dn]\n");
        Case { workshop }
    }

    /// Makes `NAME.crt` (valid for 47 days) and `NAME.key` (PKCS#8).
    fn certificate(&self, name: &str, key: &str, further: &str, issuer: Option<&str>) {
        self.certificate_with(name, &format!("-newkey {key} -nodes -keyout {name}.key"), further, issuer);
    }

    fn certificate_with(&self, name: &str, key: &str, further: &str, issuer: Option<&str>) {
        let issuer = issuer.map(|ca| format!("-CA {ca}.crt -CAkey {ca}.key")).unwrap_or_default();
        self.workshop.make(&format!(
            "req -x509 -config empty.cnf {key} -subj /CN={name} -days 47 {further} {issuer} -out {name}.crt"
        ));
    }

    fn crt(&self, name: &str) -> String {
        self.workshop.text(&format!("{name}.crt"))
    }

    fn key(&self, name: &str) -> String {
        self.workshop.text(&format!("{name}.key"))
    }

    /// The files of these names one after the other.
    fn bundle(&self, names: &[&str]) -> Vec<u8> {
        names.iter().flat_map(|name| self.workshop.read(name)).collect()
    }

    /// The leaf alone with its key and extensions of its own.
    fn odd_leaf(&self, key: &str, further: &str) -> Result<Imported> {
        self.certificate("odd", key, further, Some("middle"));
        import_now(&self.bundle(&["odd.crt", "odd.key", "middle.crt", "root.crt"]), None, None)
    }
}

fn import_now(certificate: &[u8], key: Option<&[u8]>, passphrase: Option<&str>) -> Result<Imported> {
    let passphrase = passphrase.map(Secret::new);
    let material = Material { certificate, key, passphrase: passphrase.as_ref() };
    import(&material, &names(&["a.example"]), Timestamp::now())
}

fn names(texts: &[&str]) -> Vec<Fqdn> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn refusal(outcome: Result<Imported>) -> String {
    let failure = outcome.unwrap_err();
    assert_eq!(failure.kind, Kind::Usage);
    [vec![failure.message], failure.evidence].concat().join("; ")
}

/// The subjects of the chain, and the pair serves.
fn served(imported: &Imported) -> Vec<String> {
    check_pair(&imported.chain_pem, &imported.key_pem).unwrap();
    assert!(imported.key_pem.expose().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    let chain = CertificateDer::pem_slice_iter(imported.chain_pem.as_bytes());
    chain.map(|certificate| facts(&certificate.unwrap()).unwrap().subject).collect()
}

#[test]
fn the_chain_comes_out_in_order_whatever_the_order() {
    let case = Case::new();
    let orders = [
        ["leaf.crt", "middle.crt", "root.crt", "leaf.key"],
        ["root.crt", "leaf.key", "middle.crt", "leaf.crt"],
        ["middle.crt", "root.crt", "leaf.crt", "leaf.key"],
    ];
    for order in orders {
        let imported = import_now(&case.bundle(&order), None, None).unwrap();
        assert_eq!(served(&imported), ["CN=leaf", "CN=middle"], "{order:?}");
        assert_eq!(imported.remarks, ["no browser trusts `CN=root` by itself: it must be told to"]);
        assert_eq!(imported.facts.names, ["a.example", "*.b.example"]);
    }
    let twice = case.bundle(&["leaf.crt", "leaf.crt", "middle.crt", "middle.crt", "leaf.key", "leaf.key"]);
    assert_eq!(served(&import_now(&twice, None, None).unwrap()), ["CN=leaf", "CN=middle"]);
    case.workshop.write("chain.pem", import_now(&twice, None, None).unwrap().chain_pem);
    let verdict =
        case.workshop.run("verify -CAfile root.crt -untrusted chain.pem -purpose sslserver chain.pem");
    assert_eq!(verdict, "chain.pem: OK\n");
}

#[test]
fn keys_of_every_form_come_out_as_pkcs8() {
    let case = Case::new();
    case.certificate("rsa", "rsa:2048", SERVER, Some("middle"));
    case.certificate("p384", "ec -pkeyopt ec_paramgen_curve:P-384", SERVER, Some("middle"));
    case.workshop.make("ec -in leaf.key -out leaf.old");
    case.workshop.make("ec -in p384.key -out p384.old");
    case.workshop.make("rsa -in rsa.key -traditional -out rsa.old");
    for (name, kind) in [("leaf", "EC P-256"), ("p384", "EC P-384"), ("rsa", "RSA 2048 bits")] {
        for form in ["key", "old"] {
            let key = case.workshop.read(&format!("{name}.{form}"));
            let imported = import_now(case.crt(name).as_bytes(), Some(&key), None).unwrap();
            assert_eq!(served(&imported), [format!("CN={name}")], "{form}");
            assert_eq!(imported.facts.key.to_string(), kind);
            case.workshop.write("imported.key", imported.key_pem.expose());
            assert!(
                case.workshop.run("pkey -in imported.key -check -noout").contains("Key is valid"),
                "{kind} {form}"
            );
        }
    }
}

#[test]
fn encrypted_keys_are_opened_by_their_passphrase_only() {
    let case = Case::new();
    let ways = ["-v2 aes-256-cbc", "-v2 aes-128-cbc -v2prf hmacWithSHA512", "-v2 des3", "-scrypt"];
    for way in ways {
        case.workshop.make(&format!("pkcs8 -topk8 {way} -in leaf.key -passout pass:secret -out locked.key"));
        let key = case.workshop.read("locked.key");
        assert!(needs_passphrase(&key), "{way}");
        let with = |passphrase| import_now(case.crt("leaf").as_bytes(), Some(&key), passphrase);
        assert_eq!(served(&with(Some("secret")).unwrap()), ["CN=leaf"], "{way}");
        assert_eq!(refusal(with(Some("wrong"))), "the passphrase does not open the key", "{way}");
        let none = "the key is protected by a passphrase, and none was given";
        assert_eq!(refusal(with(None)), none, "{way}");
    }
    assert!(!needs_passphrase(case.key("leaf").as_bytes()));
}

#[test]
fn keys_protected_in_outdated_ways_are_refused_with_the_command_that_helps() {
    let case = Case::new();
    case.workshop.make("ec -in leaf.key -aes256 -passout pass:secret -out rfc1421.key");
    case.workshop.make("pkcs8 -topk8 -v1 PBE-SHA1-3DES -in leaf.key -passout pass:secret -out pbes1.key");
    let table = [
        ("rfc1421.key", "in an outdated way", "`openssl pkcs8 -topk8 -in KEY -out KEY.pem`"),
        ("pbes1.key", "in a way that cannot be read here", "`openssl pkcs8 -topk8 -v2 aes-256-cbc"),
    ];
    for (file, message, hint) in table {
        let key = case.workshop.read(file);
        let failure = import_now(case.crt("leaf").as_bytes(), Some(&key), Some("secret")).unwrap_err();
        assert!(failure.message.contains(message) && failure.hints[0].starts_with(hint), "{failure:?}");
    }
}

#[test]
fn pkcs12_files_are_read_modern_and_legacy() {
    let case = Case::new();
    case.certificate("rsa", "rsa:2048", SERVER, Some("middle"));
    case.workshop.write("issuers.pem", case.crt("root") + &case.crt("middle"));
    for name in ["leaf", "rsa"] {
        for way in
            ["", "-legacy", "-keypbe AES-128-CBC -certpbe NONE", "-certpbe PBE-SHA1-3DES -macalg sha512"]
        {
            case.workshop.make(&format!(
                "pkcs12 -export {way} -in {name}.crt -inkey {name}.key -certfile issuers.pem -passout pass:secret \
                 -out bundle.pfx"
            ));
            let file = case.workshop.read("bundle.pfx");
            assert!(needs_passphrase(&file), "{way}");
            let imported = import_now(&file, None, Some("secret")).unwrap();
            assert_eq!(served(&imported), [format!("CN={name}"), "CN=middle".to_owned()], "{way}");
            let wrong = refusal(import_now(&file, None, Some("wrong")));
            assert_eq!(wrong, "the passphrase does not open the PKCS#12 file", "{way}");
            let none = refusal(import_now(&file, None, None));
            assert_eq!(none, "the PKCS#12 file is protected by a passphrase, and none was given", "{way}");
        }
    }
}

#[test]
fn a_pkcs12_file_without_a_passphrase_asks_for_none() {
    let case = Case::new();
    for way in ["", "-keypbe NONE -certpbe NONE", "-legacy", "-keypbe NONE -certpbe NONE -nomac"] {
        case.workshop
            .make(&format!("pkcs12 -export {way} -in leaf.crt -inkey leaf.key -passout pass: -out open.pfx"));
        let file = case.workshop.read("open.pfx");
        assert!(!needs_passphrase(&file), "{way}");
        assert_eq!(served(&import_now(&file, None, None).unwrap()), ["CN=leaf"], "{way}");
    }
}

#[test]
fn other_files_are_told_apart() {
    let case = Case::new();
    case.workshop.make("x509 -in leaf.crt -outform DER -out leaf.der");
    let der = case.workshop.read("leaf.der");
    let key = case.key("leaf");
    assert_eq!(served(&import_now(&der, Some(key.as_bytes()), None).unwrap()), ["CN=leaf"]);
    let marked = format!("\u{feff}{}", case.crt("leaf"));
    assert_eq!(served(&import_now(marked.as_bytes(), Some(key.as_bytes()), None).unwrap()), ["CN=leaf"]);
    let latin = [b"friendlyName: B\xfccher\n".as_slice(), case.crt("leaf").as_bytes()].concat();
    assert_eq!(served(&import_now(&latin, Some(key.as_bytes()), None).unwrap()), ["CN=leaf"]);
    let bytes = |unit: u16| [unit.to_le_bytes(), unit.to_be_bytes()];
    for order in 0..2 {
        let wide: Vec<u8> = marked.encode_utf16().flat_map(|unit| bytes(unit)[order]).collect();
        assert_eq!(served(&import_now(&wide, Some(key.as_bytes()), None).unwrap()), ["CN=leaf"], "{order}");
    }
    case.workshop.make("pkey -in leaf.key -outform DER -out leaf.keyder");
    let key_der = case.workshop.read("leaf.keyder");
    let crt = case.crt("leaf");
    let table = [
        (crt.as_bytes(), None::<&[u8]>, "no private key was given"),
        (key.as_bytes(), None, "the certificate file holds no certificate"),
        (b"hello".as_slice(), None, "the file is neither PEM nor PKCS#12"),
        (crt.as_bytes(), Some(&key_der), "the file is neither PEM nor PKCS#12"),
        (&crt.as_bytes()[..200], None, "the file is not valid PEM"),
    ];
    for (certificate, key, expected) in table {
        assert_eq!(refusal(import_now(certificate, key, None)), expected);
    }
}

#[test]
fn a_pkcs12_file_that_is_damaged_is_refused() {
    let case = Case::new();
    case.workshop.make("pkcs12 -export -in leaf.crt -inkey leaf.key -passout pass:secret -out bundle.pfx");
    let file = case.workshop.read("bundle.pfx");
    let whole = import_now(&file, None, Some("secret")).unwrap();
    for length in (8..file.len()).step_by(97) {
        assert_eq!(
            refusal(import_now(&file[..length], None, Some("secret"))),
            "the PKCS#12 file cannot be read"
        );
    }
    for at in (8..file.len()).step_by(41) {
        let mut damaged = file.clone();
        damaged[at] ^= 0x55;
        // A name tag outside the checksum may be damaged without harm; anything else is told.
        match import_now(&damaged, None, Some("secret")) {
            Ok(imported) => assert_eq!(imported, whole, "{at}"),
            Err(failure) => assert_eq!(failure.kind, Kind::Usage, "{failure}"),
        }
    }
}

#[test]
fn keys_and_certificates_that_do_not_belong_together_are_refused() {
    let case = Case::new();
    case.certificate("other", EC, SERVER, None);
    let with = |files: &[&str]| refusal(import_now(&case.bundle(files), None, None));
    assert_eq!(with(&["leaf.crt", "other.key"]), "the key does not belong to the certificate");
    assert_eq!(
        with(&["leaf.crt", "middle.crt", "other.key"]),
        "the key does not belong to any of the certificates"
    );
    let stranger = "the certificate `CN=other` has nothing to do with the one of `CN=leaf`";
    assert_eq!(with(&["leaf.crt", "leaf.key", "middle.crt", "root.crt", "other.crt"]), stranger);
    assert_eq!(with(&["other.crt", "leaf.crt", "leaf.key"]), stranger);
}

#[test]
fn an_authority_of_the_same_name_and_another_key_is_no_issuer() {
    let case = Case::new();
    // Without key identifiers only the signature tells.
    let bare = format!("{AUTHORITY} -addext subjectKeyIdentifier=none -addext authorityKeyIdentifier=none");
    case.certificate("ca", EC, &bare, None);
    let server = format!("{SERVER} -addext subjectKeyIdentifier=none -addext authorityKeyIdentifier=none");
    case.certificate("server", EC, &server, Some("ca"));
    let pair = ["server.crt", "server.key", "ca.crt"];
    assert_eq!(import_now(&case.bundle(&pair), None, None).unwrap().remarks.len(), 1);
    case.certificate("ca", EC, &bare, None);
    let failure = import_now(&case.bundle(&pair), None, None).map(|imported| imported.remarks);
    let remark = "the issuer `CN=ca` is not in the file: a browser refuses the certificate unless it knows that authority";
    assert_eq!(failure.unwrap(), [remark]);
}

#[test]
fn a_cross_signed_authority_is_no_stranger() {
    let case = Case::new();
    case.certificate("old", EC, AUTHORITY, None);
    // The same subject and key as `root`, signed by `old`.
    case.workshop.make(&format!(
        "req -x509 -config empty.cnf -key root.key -subj /CN=root -days 47 {AUTHORITY} -CA old.crt -CAkey old.key \
         -out crossed.crt"
    ));
    let crossed = case.bundle(&["leaf.crt", "leaf.key", "middle.crt", "crossed.crt"]);
    assert_eq!(served(&import_now(&crossed, None, None).unwrap()), ["CN=leaf", "CN=middle", "CN=root"]);
    let all = case.bundle(&["leaf.crt", "leaf.key", "crossed.crt", "middle.crt", "old.crt", "root.crt"]);
    assert_eq!(served(&import_now(&all, None, None).unwrap()), ["CN=leaf", "CN=middle"], "the shorter way");
}

#[test]
fn of_two_certificates_for_one_key_the_later_is_taken() {
    let case = Case::new();
    case.workshop.make(&format!(
        "req -x509 -config empty.cnf -key leaf.key -subj /CN=renewed -days 60 {SERVER} -CA middle.crt -CAkey middle.key \
         -out renewed.crt"
    ));
    let bundle = case.bundle(&["leaf.crt", "renewed.crt", "leaf.key", "middle.crt"]);
    assert_eq!(served(&import_now(&bundle, None, None).unwrap()), ["CN=renewed", "CN=middle"]);
}

#[test]
fn what_browsers_refuse_is_refused() {
    let case = Case::new();
    let bare = "-addext basicConstraints=CA:FALSE";
    let san = "-addext subjectAltName=DNS:a.example";
    let table = [
        (EC, bare.to_owned(), "the certificate has no subject alternative names, so no browser accepts it"),
        (
            EC,
            "-addext subjectAltName=DNS:c.example".to_owned(),
            "the certificate is not for `a.example` (it is for c.example)",
        ),
        (
            EC,
            format!("{san} -addext basicConstraints=CA:TRUE"),
            "the certificate is that of an authority, not of a server (`CA:TRUE`)",
        ),
        (
            EC,
            format!("{SERVER} -addext extendedKeyUsage=clientAuth"),
            "the certificate is not meant for TLS servers (extended key usage without `serverAuth`)",
        ),
        (
            EC,
            format!("{SERVER} -addext keyUsage=keyAgreement"),
            "the certificate's key may not sign (key usage without `digitalSignature`)",
        ),
        (EC, format!("{SERVER} -sha1"), "the certificate of `CN=odd` is signed with SHA-1"),
        (
            "ed25519",
            SERVER.to_owned(),
            "the key of `CN=odd` (Ed25519) is of a kind that not every browser takes",
        ),
    ];
    for (key, further, expected) in table {
        assert_eq!(refusal(case.odd_leaf(key, &further)), expected);
    }
    let good =
        format!("{SERVER} -addext extendedKeyUsage=clientAuth,serverAuth -addext keyUsage=digitalSignature");
    assert_eq!(served(&case.odd_leaf(EC, &good).unwrap()), ["CN=odd", "CN=middle"]);
}

#[test]
fn weak_keys_are_refused_wherever_they_are() {
    let case = Case::new();
    for key in ["rsa:1024", "ec -pkeyopt ec_paramgen_curve:P-521", "ec -pkeyopt ec_paramgen_curve:secp256k1"]
    {
        let failure = case.odd_leaf(key, SERVER).unwrap_err();
        assert_eq!(failure.message, "the key cannot be used", "{key}");
        assert!(failure.hints[0].ends_with("an RSA key of 2048 to 4096 bits"), "{failure:?}");
    }
    case.certificate("weak", "rsa:1024", AUTHORITY, Some("root"));
    case.certificate("below", EC, SERVER, Some("weak"));
    let refused = refusal(import_now(&case.bundle(&["below.crt", "below.key", "weak.crt"]), None, None));
    assert_eq!(refused, "the key of `CN=weak` (RSA 1024 bits) is too short: 2048 bits is the least");
}

#[test]
fn dates_are_judged_and_all_objections_told_at_once() {
    let case = Case::new();
    let bundle = case.bundle(&["leaf.crt", "leaf.key", "middle.crt"]);
    let material = Material { certificate: &bundle, key: None, passphrase: None };
    let day = jiff::SignedDuration::from_hours(24);
    let told = |wanted: &[&str], now| refusal(import(&material, &names(wanted), now));
    let late = told(&["a.example"], Timestamp::now() + day * 50);
    assert!(
        late.starts_with("browsers would refuse the certificate for 2 reasons; the certificate expired on ")
    );
    assert!(late.contains("; its issuer's certificate `CN=middle` expired on "), "{late}");
    let early = told(&["a.example", "c.example"], Timestamp::now() - day);
    assert!(early.starts_with("browsers would refuse the certificate for 3 reasons"), "{early}");
    assert!(early.contains("the certificate is not for `c.example`"), "{early}");
}

#[test]
fn certificates_that_browsers_do_not_know_are_remarked_on() {
    let case = Case::new();
    let remarks = |files: &[&str]| import_now(&case.bundle(files), None, None).unwrap().remarks;
    let absent = |issuer: &str| {
        format!(
            "the issuer `{issuer}` is not in the file: a browser refuses the certificate unless it knows that authority"
        )
    };
    assert_eq!(remarks(&["leaf.crt", "leaf.key"]), [absent("CN=middle")]);
    assert_eq!(remarks(&["leaf.crt", "leaf.key", "middle.crt"]), [absent("CN=root")]);
    case.certificate("own", EC, SERVER, None);
    let own = "the certificate is signed by itself: each browser warns until it is told to trust it";
    assert_eq!(remarks(&["own.crt", "own.key"]), [own]);
}

#[test]
fn a_public_certificate_without_its_issuer_is_refused() {
    let case = Case::new();
    let logged = format!(
        "{SERVER} -addext 1.3.6.1.4.1.11129.2.4.2=DER:0402 \
         -addext authorityInfoAccess=caIssuers;URI:http://ca.example/middle.der"
    );
    case.certificate("public", EC, &logged, Some("middle"));
    let failure = import_now(&case.bundle(&["public.crt", "public.key"]), None, None).unwrap_err();
    assert_eq!(failure.message, "the issuer `CN=middle` is neither in the file nor known to browsers");
    let hint =
        "add its certificate, or take the authority's full chain; it is at http://ca.example/middle.der";
    assert_eq!(failure.hints, [hint]);
    // Browsers may know a root that this program does not know yet.
    let chain = ["public.crt", "public.key", "middle.crt"];
    assert_eq!(import_now(&case.bundle(&chain), None, None).unwrap().remarks.len(), 1);
}

#[test]
fn what_a_ca_sent_is_put_in_order() {
    let case = Case::new();
    case.certificate("own", EC, SERVER, None);
    let sent = |files: &[&str]| String::from_utf8(case.bundle(files)).unwrap();
    let fine = sent(&["leaf.crt", "middle.crt"]);
    let muddled =
        [&["leaf.crt", "root.crt", "middle.crt"][..], &["leaf.crt", "own.crt", "middle.crt", "middle.crt"]];
    for files in muddled {
        let answer = in_order(&sent(files)).unwrap();
        assert_eq!(certificates(&answer).unwrap(), certificates(&fine).unwrap(), "{files:?}");
        check_pair(&answer, &Secret::new(case.key("leaf"))).unwrap();
    }
    assert!(in_order("").is_err());
}

#[test]
fn a_publicly_trusted_chain_needs_no_remark_unless_it_lasts_too_long() {
    let case = Case::new();
    let import_trusted = |bundle: &[u8]| {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(case.crt("root").as_bytes()).unwrap()).unwrap();
        let material = Material { certificate: bundle, key: None, passphrase: None };
        import_trusting(roots, &material, &names(&["a.example"]), Timestamp::now()).unwrap()
    };
    let imported = import_trusted(&case.bundle(&["leaf.crt", "leaf.key", "middle.crt"]));
    assert_eq!((served(&imported).len(), imported.remarks), (2, Vec::new()));
    case.certificate("long", EC, &format!("{SERVER} -days 399"), Some("middle"));
    let remarks = import_trusted(&case.bundle(&["long.crt", "long.key", "middle.crt"])).remarks;
    assert!(
        remarks.len() == 1 && remarks[0].starts_with("the certificate lasts 399 days, but browsers accept ")
    );
}
