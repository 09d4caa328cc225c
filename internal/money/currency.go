package money

import "strings"

// Active codes of ISO 4217 (list one, with funds and test codes left out), by the number of
// decimals of the minor unit.
const (
	noDecimals    = " BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF "
	twoDecimals   = " AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG "
	threeDecimals = " BHD IQD JOD KWD LYD OMR TND "
)

// Currency returns the number of decimals of the currency's minor unit (2 for USD, 0 for JPY), and
// whether code is an active ISO 4217 currency. Codes are upper case.
func Currency(code string) (exponent int, ok bool) {
	if len(code) != 3 || strings.Contains(code, " ") {
		return 0, false
	}
	switch key := " " + code + " "; {
	case strings.Contains(twoDecimals, key):
		return 2, true
	case strings.Contains(noDecimals, key):
		return 0, true
	case strings.Contains(threeDecimals, key):
		return 3, true
	}
	return 0, false
}
