//! Words that contacts are made of, in many scripts and with every character that loaders stumble over.

pub const LANGUAGES: &[&str] =
    &["English", "English", "English", "Deutsch", "Español", "العربية", "中文", "日本語", "Русский"];

/// Never personal data of anybody: first and last names are put together by chance.
pub const FIRST_NAMES: &[&str] = &[
    "Ada",
    "Björn",
    "Chloé",
    "Dmitri",
    "Елена",
    "Fatima",
    "Grzegorz",
    "هدى",
    "Ingrid",
    "José",
    "健太",
    "Łucja",
    "Mary-Jane",
    "O'Neil",
];
pub const LAST_NAMES: &[&str] = &[
    "Adeyemi",
    "Brønsted",
    "Castaño",
    "D'Angelo",
    "Eriksson",
    "Фёдорова",
    "García \"Gabo\"",
    "Hŭ",
    "Иванов",
    "山田",
    "van der Berg",
];

pub const QUEUES: &[&str] = &[
    "Default Queue - Q1",
    "Billing",
    "Kundendienst – Süd",
    "الدعم الفني",
    "技术支持",
    "Returns & Refunds <EU>",
    "VIP \u{1f451}",
    "Overflow\t(night)",
];

pub const FORMS: &[(&str, &str)] = &[
    ("Chat Form - COMMON", "points"),
    ("Voice Form - COMMON", "points"),
    ("Compliance \\ Audit", "percentage"),
    ("Qualitätsbogen 100%", "percentage"),
];

pub const METRICS: &[&str] = &[
    "UK Greeting Compliance Rate GEN",
    "Identity verified",
    "Empathy shown",
    "Hold procedure followed",
    "Dead air below 10%",
    "Closing statement",
    "Cross-sell offered",
    "Disclosure read: \"calls are recorded\"",
    "Приветствие клиента",
    "كلمة ترحيب",
    "问候语合规",
    "Correct price quoted",
    "Correct address quoted",
    "No interruption of the customer",
    "Ticket number given",
    "PCI: card number never repeated",
    "Tone",
    "Résumé de l'appel",
    "Next step agreed",
    "Adherence to script \\ deviation",
    "Escalation offered when due",
    "Customer's name used",
];

pub const EMOTIONS: &[&str] = &[
    "Happy",
    "happiness",
    "Patience",
    "PATIENCE",
    "Neutral",
    "Anger",
    "frustrated",
    "Frustrated",
    "Überrascht",
    "Sad",
    "Gratitude",
    "confused",
];

pub const SENTIMENTS: &[&str] = &["positive", "neutral", "negative"];

pub const INTENTS: &[&str] = &[
    "Book a flight to Amsterdam",
    "Cancel a subscription",
    "Заказать такси",
    "استرداد المبلغ",
    "查询订单状态",
    "Reset password \u{1f511}",
    "Report an outage",
    "Change the delivery address\n(before dispatch)",
    "Complain about a N/A charge",
];

pub const KEYWORDS: &[&str] = &[
    "flight",
    "Amsterdam",
    "book",
    "refund",
    "100%",
    "возврат",
    "订单",
    "كلمة",
    "C:\\temp",
    "\"quoted\"",
    "tab\there",
    "null and void",
    "\u{1f600}",
    "\\N",
    "\\.",
    "NaN bread",
];

pub const TOPICS: &[&str] = &[
    "E-commerce",
    "Travel",
    "Banking",
    "Telecoms",
    "Health > Care",
    "Энергия",
    "保险",
    "التأمين",
    "Public \\ Sector",
    "Loyalty",
];
pub const SUBTOPICS: &[&str] = &[
    "Order Management",
    "Payments",
    "Complaints",
    "Onboarding",
    "Кредиты",
    "退款",
    "Delivery 50% off",
    "Technical help",
];
pub const DETAILS: &[&str] = &[
    "Place order",
    "Cancel order",
    "Late delivery",
    "Wrong item",
    "Double charge",
    "Забыт пароль",
    "密码重置",
    "Close account",
    "SIM swap",
    "Renewal",
];

pub const ENTITIES: &[&str] = &["price", "delivery date", "account number", "адрес", "套餐"];

pub const CUSTOM_FIELDS: &[&str] = &["region", "campaign", "tier", "Kundennummer", "категория", "note", "城市"];

/// Sentences that make up justifications. Some hold what COPY, CSV and JSON treat as special.
pub const SENTENCES: &[&str] = &[
    "The agent initiated the interaction with a courteous and welcoming greeting, stating both the name and the department.",
    "The customer was asked for two independent identifiers before any account detail was disclosed, as the procedure requires.",
    "No statement of the mandatory disclosure could be found in the transcript between the greeting and the first question.",
    "The agent acknowledged the inconvenience, paraphrased the complaint and offered a realistic time for the resolution.",
    "The price that was quoted differs from the price in the source system by more than the tolerated margin of 5%.",
    "Агент вежливо поприветствовал клиента и подтвердил номер заказа, прежде чем перейти к сути обращения.",
    "قام الوكيل بالترحيب بالعميل وتأكيد هويته قبل الانتقال إلى تفاصيل الطلب وشرح الخطوات التالية.",
    "座席人员礼貌地问候了客户,确认了订单号码,并在结束通话之前总结了接下来的步骤。",
    "Der Kunde wurde zweimal unterbrochen; die Gesprächsführung blieb dennoch höflich und lösungsorientiert.",
    "The closing statement was given, the ticket number repeated, and the customer thanked the agent \u{1f44d}\u{1f3fd}.",
    "The hold lasted longer than announced and the agent did not return within the two minutes that had been promised.",
    "Customer's words: \"I have called three times, and every time I was told something else\".",
    "Path C:\\users\\agent\\N was read out; the form field shows \\N and the line \\. on its own.",
    "Two lines:\nthe first ends here,\r\nthe second\thas a tab and a \u{000b} vertical one.",
    "The answer was NA - not applicable - and null in the source system, which counts as met.",
    "Escapes such as %s, %d, {0}, ${HOME}, '; drop table contacts; -- and <b>bold</b> were copied into the chat.",
    "Zero\u{200d}width and right\u{200f}to\u{200e}left marks, e\u{301} combined, \u{fb01} ligature, \u{1d4d0} beyond the basic plane.",
];

pub const AUDIT_STATES: &[&str] = &["Pending", "Completed", "Disputed"];
