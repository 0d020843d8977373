//! The languages and countries that Odoo's `base` module brings. Making a database with any other
//! fails half-way, so they are checked before anything is done.

use crate::name::{Country, Language};
use crate::site::release::Release;

/// In Odoo 14 and in 19. Source: `odoo/addons/base/data/res.lang.csv` of both.
const LANGUAGES: &str = "am_ET ar_001 ar_SY bg_BG bn_IN bs_BA ca_ES cs_CZ da_DK de_CH de_DE el_GR \
    en_AU en_CA en_GB en_IN en_US es_AR es_BO es_CL es_CO es_CR es_DO es_EC es_ES es_GT es_MX es_PA \
    es_PE es_PY es_UY es_VE et_EE eu_ES fa_IR fi_FI fr_BE fr_CA fr_CH fr_FR gl_ES gu_IN he_IL hi_IN \
    hr_HR hu_HU id_ID it_IT ja_JP ka_GE kab_DZ km_KH ko_KP ko_KR lb_LU lo_LA lt_LT lv_LV mk_MK mn_MN \
    my_MM nb_NO nl_BE nl_NL pl_PL pt_AO pt_BR pt_PT ro_RO ru_RU sk_SK sl_SI sq_AL sr@latin sv_SE \
    te_IN th_TH tl_PH tr_TR uk_UA vi_VN zh_CN zh_HK zh_TW";
/// In 14 and not in 19.
const GONE: &str = "sr_RS";
/// In 19 and not in 14.
const ADDED: &str = "az_AZ be_BY en_NZ es_419 ml_IN ms_MY sr@Cyrl sw";

/// ISO 3166-1, from the tz database's `iso3166.tab`, and Kosovo as Odoo has it.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ \
    BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE \
    DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR \
    GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP \
    KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT \
    MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW \
    PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG \
    TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM \
    ZW";

/// The languages to choose from. Between 14 and 19 both sets count: which release brought or
/// dropped which code is not worth a table, and a refusal must never be wrong.
pub fn languages(release: Release) -> impl Iterator<Item = &'static str> {
    let gone = if release == Release::NEWEST { "" } else { GONE };
    let added = if release == Release::OLDEST { "" } else { ADDED };
    [LANGUAGES, gone, added].into_iter().flat_map(str::split_whitespace)
}

#[must_use]
pub fn is_country(country: &Country) -> bool {
    COUNTRIES.split_whitespace().any(|code| code == country.as_str())
}

/// Language and country for a `LANG` such as `fr_BE.UTF-8`: what Odoo has, else the nearest that
/// says the same (`en_IE` becomes `en_US` in Ireland), else American English and no country.
#[must_use]
pub fn from_lang(lang: &str) -> (Language, Option<Country>) {
    let locale = lang.split(['.', '@']).next().unwrap_or_default();
    let (word, territory) = locale.split_once('_').unwrap_or((locale, ""));
    let country = territory.parse().ok().filter(is_country);
    let code = LANGUAGES.split_whitespace().find(|code| *code == locale);
    let code = code.or_else(|| of_word(word)).unwrap_or("en_US");
    // Every code of the list is a valid language; a test parses them all.
    (code.parse().expect("a code of the list"), country)
}

/// The language for a word such as `fr`: that of the country of the same name, else the first.
#[must_use]
pub fn of_word(word: &str) -> Option<&'static str> {
    let own = if word == "en" { "en_US".to_owned() } else { format!("{word}_{}", word.to_ascii_uppercase()) };
    let has_word = |code: &&str| code.split_once('_').is_some_and(|(first, _)| first == word);
    let mut codes = LANGUAGES.split_whitespace().filter(has_word);
    codes.clone().find(|code| *code == own).or_else(|| codes.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_valid() {
        let middle = Release::new(16).unwrap();
        assert_eq!(languages(middle).count(), 93);
        assert!(languages(middle).all(|code| code.parse::<Language>().is_ok()));
        assert!(COUNTRIES.split_whitespace().all(|code| code.parse::<Country>().is_ok()));
        assert_eq!(COUNTRIES.split_whitespace().count(), 250);
    }

    #[test]
    fn language_lists_follow_the_release() {
        assert_eq!(languages(Release::OLDEST).count(), 85);
        assert_eq!(languages(Release::NEWEST).count(), 92);
    }

    #[test]
    fn lang_becomes_what_odoo_has() {
        let table = [
            ("fr_BE.UTF-8", "fr_BE", Some("BE")),
            ("fr_LU.UTF-8", "fr_FR", Some("LU")),
            ("en_IE.UTF-8", "en_US", Some("IE")),
            ("sv_FI", "sv_SE", Some("FI")),
            ("de", "de_DE", None),
            ("C.UTF-8", "en_US", None),
            ("POSIX", "en_US", None),
            ("", "en_US", None),
            ("es_419", "es_ES", None),
            ("ca_ES@valencia", "ca_ES", Some("ES")),
        ];
        for (lang, language, country) in table {
            let (found_language, found_country) = from_lang(lang);
            let found = (found_language.as_str(), found_country.as_ref().map(Country::as_str));
            assert_eq!(found, (language, country), "{lang}");
        }
    }
}
