package text

import (
	"strings"
	"sync"
	"unicode"
)

// frequentWords are the commonest small words of languages whose short texts trigrams confuse.
var frequentWords = map[string]string{
	"en": "the of and to in is you that it he was for on are with as i his they be at this have from or had by but what some we can out other were all your when up use how said an each she which do their if will my would about no not there where please help want need me hi hello hey yes thanks bye don't i'm it's",
	"de": "der die das und ist ich nicht sie es ein eine zu in den mit auf für von wir du er wie was bin habe hat sind dem im auch so wenn noch nach wird bei einen kann mein meine sehr heute morgen bitte wo wann warum über aus",
	"fr": "le la les de des et est je ne pas vous que qui un une dans pour en il elle nous sur ce cette avec mon ma mes son sa ses du au aux où quand comment mais très aujourd'hui c'est j'ai l' d' suis sont a été bonjour merci plus si",
	"es": "el la los las de y que en es no un una por con para está su se lo como más pero mi me muy hoy dónde cuándo cómo yo tú él ella nosotros al del son soy tengo tiene este esta esto hay gracias qué si",
	"pt": "o a os as de e que em é não um uma por com para está seu sua se como mais mas meu minha muito hoje onde quando eu você ele ela nós ao do da dos das no na nos nas são sou tenho tem este esta isto há obrigado foi",
	"it": "il lo la i gli le di e che in è non un una per con sono ho ha mi ti si come più ma mio mia molto oggi dove quando io tu lui lei noi al del della dei nel nella questo questa c'è grazie perché anche alla sulla",
	"nl": "de het een en is ik niet je dat van in op te zijn met voor er hij zij we maar om hebben heb heeft aan wat waar wanneer hoe mijn dit die ook als nog naar bij wordt vandaag zeer goed kan",
	"sv": "och att det i en jag som är på inte av för med den till har de ett om han hon vi men var min mitt du ni kan ska från när hur idag mycket mig där vad",
	"da": "og at det i en jeg som er på ikke af for med den til har de et om han hun vi men var min mit du kan skal fra når hvor hvordan i dag meget mig der hvad",
	"no": "og at det i en jeg som er på ikke av for med den til har de et om han hun vi men var min mitt du kan skal fra når hvor hvordan i dag mye meg der hva",
	"fi": "ja on ei se hän minä sinä me te he että en ole oli mutta kun niin myös kuin joka mitä missä milloin miten tänään hyvin minun tämä ovat voi",
	"pl": "i w nie na się z do to jest że o jak ale po co tak ja ty on ona my za od jego jej są był była mam ma gdzie kiedy dlaczego dzisiaj bardzo mój moja dla czy",
	"cs": "a je v se na že to s z do o jsem ne jak ale po co tak já ty on ona my za od jeho její jsou byl byla mám má kde kdy proč dnes velmi můj moje pro nebo",
	"sk": "a je v sa na že to s z do o som nie ako ale po čo tak ja ty on ona my za od jeho jej sú bol bola mám má kde kedy prečo dnes veľmi môj moja pre alebo",
	"hu": "a az és hogy nem is egy van ez de ha meg mint csak ki mi én te ő mi volt lesz hol mikor miért ma nagyon már kell vagy nincs",
	"ro": "și în de la nu este a un o cu pe pentru că să se din mai dar ce eu tu el ea noi sunt am are unde când cum azi astăzi foarte meu mea acest această",
	"tr": "ve bir bu da de için ile ne çok ben sen o biz siz değil var yok mi mı gibi daha ama nasıl nerede bugün benim en kadar olarak",
	"vi": "và là của có không tôi bạn anh chị em được trong cho một những các với này đó khi ở đâu rất hôm nay người ra đã sẽ cũng",
	"id": "yang dan di ini itu tidak saya anda dengan untuk dari ke dalam akan pada adalah kami kita dia ada bisa sudah apa bagaimana hari sangat juga mereka oleh",
	"ca": "el la els les de i que en és no un una per amb està seu com més però meu meva molt avui on quan jo tu ell ella al del són aquest aquesta hi ha gràcies",
	"eo": "la de kaj en estas mi vi ne ke al por kun li ŝi ni ili tio ĉi kiel kio sed tre hodiaŭ kie kiam mia via pri ĝi estis",
	"ru": "и в не на я что он с как это она они мы вы по но за у от так же все было был была быть где когда почему сегодня очень мой моя для из если мне меня есть нет",
	"uk": "і в не на я що він з як це вона вони ми ви по але за у від так же все було був була бути де коли чому сьогодні дуже мій моя для із якщо мені мене є немає та та й до",
	"bg": "и в не на аз че той с как това тя те ние вие по но за от така все беше съм е са да ще къде кога защо днес много моят моята ми ме има няма се",
	"sr": "и у не на ја да он са како то она они ми ви по али за од тако све је био била бити где када зашто данас веома мој моја из ако ми ме има нема се су",
	"ar": "في من على إلى أن هذا هذه التي الذي لا ما هو هي كان أنا نحن مع عن كل بعد قبل هل كيف أين متى اليوم جدا لم لن قد",
	"fa": "در از به که این آن را است با برای من تو او ما شما آنها می نه چه کجا کی چرا امروز خیلی هم یک بود هستم",
	"ur": "میں کے کی ہے کا اور سے نہیں یہ وہ کو پر ہیں کیا آپ ہم کہاں کب کیوں آج بہت ایک تھا",
	"hi": "है में के की और का नहीं यह वह को से पर हैं क्या आप हम मैं कहाँ कब क्यों आज बहुत एक था मेरा",
	"mr": "आहे आणि मी तो ती हे काय नाही आहेत कुठे आज खूप माझा माझे होता एक",
	"bn": "আমি তুমি সে এই আছে না কি এবং করে জন্য হয় কোথায় আজ খুব আমার একটি",
}

// frequentIndex maps a word to the languages that it is frequent in.
var frequentIndex = sync.OnceValue(func() map[string][]string {
	index := map[string][]string{}
	for lang, list := range frequentWords {
		seen := map[string]bool{}
		for _, w := range strings.Fields(list) {
			if !seen[w] {
				seen[w] = true
				index[w] = append(index[w], lang)
			}
		}
	}
	return index
})

// frequent gives each language a vote for each of its words in s, divided by the number of languages that share it.
func frequent(s string) (votes map[string]float64, words int) {
	votes = map[string]float64{}
	for _, w := range strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.Is(unicode.M, r) && r != '\'' && r != '’'
	}) {
		words++
		langs := frequentIndex()[strings.ReplaceAll(w, "’", "'")]
		for _, l := range langs {
			votes[l] += 1 / float64(len(langs))
		}
	}
	return votes, words
}
