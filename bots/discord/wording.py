"""The bot's own messages on Discord, and the names of its commands, in five languages.

Pure. English is the fallback. It must never contain anything that a person wrote.
"""

from typing import Final

import discord
from discord import app_commands

from bots.privacy import ALLOWED, EXPLANATION, FORBIDDEN
from shared.bus import OverQuota, StoreFull, TooLarge

LANGUAGES: Final = ("en", "de", "fr", "es", "ja")

COMMAND_TEXTS: Final[dict[str, tuple[str, str, str, str]]] = {
    "ask": ("fragen", "demander", "preguntar", "質問"),
    "reset": ("zurücksetzen", "réinitialiser", "restablecer", "リセット"),
    "forget": ("vergessen", "oublier", "olvidar", "消去"),
    "Erase everything that is stored about you": (
        "Lösche alles, was über dich gespeichert ist",
        "Efface tout ce qui est enregistré sur toi",
        "Borra todo lo que está guardado sobre ti",
        "あなたについて保存されているものをすべて消去する",
    ),
    "export": ("exportieren", "exporter", "exportar", "エクスポート"),
    "Get what is recorded of you as a file": (
        "Erhalte als Datei, was über dich aufgezeichnet ist",
        "Reçois dans un fichier ce qui est enregistré sur toi",
        "Recibe en un archivo lo que está registrado sobre ti",
        "あなたについて記録されている内容をファイルで受け取る",
    ),
    "help": ("hilfe", "aide", "ayuda", "ヘルプ"),
    "question": ("frage", "question", "pregunta", "質問内容"),
    "Ask about this": (
        "Dazu fragen",
        "Demander à ce sujet",
        "Preguntar sobre esto",
        "これについて質問",
    ),
    "Ask me something": (
        "Stell mir eine Frage",
        "Pose-moi une question",
        "Hazme una pregunta",
        "質問してください",
    ),
    "What you want to know": (
        "Was du wissen möchtest",
        "Ce que tu veux savoir",
        "Lo que quieres saber",
        "知りたいこと",
    ),
    "Forget what was said here": (
        "Vergiss, was hier gesagt wurde",
        "Oublie ce qui a été dit ici",
        "Olvida lo que se dijo aquí",
        "ここでの会話を忘れる",
    ),
    "privacy": ("datenschutz", "confidentialité", "privacidad", "プライバシー"),
    "training": ("training", "entraînement", "entrenamiento", "学習"),
    "What I store, and whether models may learn from it": (
        "Was ich speichere, und ob Modelle davon lernen dürfen",
        "Ce que je conserve, et si des modèles peuvent en apprendre",
        "Qué guardo y si los modelos pueden aprender de ello",
        "保存する内容と、モデルの学習に使ってよいか",
    ),
    "Whether models may learn from your messages": (
        "Ob Modelle von deinen Nachrichten lernen dürfen",
        "Si des modèles peuvent apprendre de tes messages",
        "Si los modelos pueden aprender de tus mensajes",
        "あなたのメッセージをモデルの学習に使ってよいか",
    ),
    "What I can do": ("Was ich kann", "Ce que je sais faire", "Lo que puedo hacer", "できること"),
}
"""Names and descriptions of commands: English, then German, French, Spanish, Japanese."""

NOTICES: Final[dict[str, tuple[str, str, str, str, str]]] = {
    "place": (
        "I am not allowed to answer here. Please ask whoever runs this bot.",
        "Hier darf ich nicht antworten. Bitte frag, wer diesen Bot betreibt.",
        "Je n'ai pas le droit de répondre ici. Adresse-toi à qui gère ce bot.",
        "No puedo responder aquí. Pregunta a quien administra este bot.",
        "ここでは回答できません。このボットの管理者に問い合わせてください。",
    ),
    "person": (
        "I am not allowed to answer you. Please ask whoever runs this bot.",
        "Dir darf ich nicht antworten. Bitte frag, wer diesen Bot betreibt.",
        "Je n'ai pas le droit de te répondre. Adresse-toi à qui gère ce bot.",
        "No puedo responderte. Pregunta a quien administra este bot.",
        "あなたには回答できません。このボットの管理者に問い合わせてください。",
    ),
    "direct": (
        "I do not answer direct messages. Please ask me on a server.",
        "Direktnachrichten beantworte ich nicht. Bitte frag mich auf einem Server.",
        "Je ne réponds pas aux messages privés. Pose ta question sur un serveur.",
        "No respondo mensajes directos. Pregúntame en un servidor.",
        "ダイレクトメッセージには回答しません。サーバーで質問してください。",
    ),
    "reset": (
        "Done. I have forgotten what was said here.",
        "Erledigt. Ich weiß nicht mehr, was hier gesagt wurde.",
        "C'est fait. J'ai oublié ce qui a été dit ici.",
        "Hecho. Ya no recuerdo lo que se dijo aquí.",
        "完了しました。ここでの会話を忘れました。",
    ),
    "privacy": (
        EXPLANATION,
        (
            "Ich speichere deine Nachrichten an mich, meine Antworten und deine Bewertungen: um "
            "unsere Gespräche fortzusetzen, und damit sichtbar ist, wie dieser Bot genutzt wird "
            "und was er kostet. Wo es erlaubt ist, können Sprachmodelle damit trainiert werden. "
            "`/privacy training off` verbietet das, `/privacy training on` erlaubt es wieder. "
            "`/export` schickt dir, was ich gespeichert habe, und `/forget` löscht es."
        ),
        (
            "Je conserve tes messages, mes réponses et tes évaluations : pour poursuivre nos "
            "conversations, et pour que les responsables de ce bot voient son utilisation et son "
            "coût. Là où c'est permis, des modèles de langage peuvent être entraînés avec. "
            "`/privacy training off` l'interdit, `/privacy training on` l'autorise à nouveau. "
            "`/export` t'envoie ce que j'ai enregistré, et `/forget` l'efface."
        ),
        (
            "Guardo tus mensajes, mis respuestas y tus valoraciones: para continuar nuestras "
            "conversaciones, y para que quien administra este bot vea cómo se usa y cuánto cuesta. "
            "Donde esté permitido, se pueden entrenar modelos de lenguaje con ellos. "
            "`/privacy training off` lo prohíbe, `/privacy training on` lo permite de nuevo. "
            "`/export` te envía lo que guardé, y `/forget` lo borra."
        ),
        (
            "あなたのメッセージ、私の回答、あなたの評価を保存します。会話を続けるためと、このボットの利用状況と"
            "費用を管理者が把握するためです。許可されている場合は、言語モデルの学習にも使われることがあります。"
            "`/privacy training off` で禁止、`/privacy training on` で再び許可できます。"
            "`/export` で保存内容を受け取り、`/forget` で消去できます。"
        ),
    ),
    "training off": (
        FORBIDDEN,
        (
            "Erledigt: Ab jetzt wird kein Sprachmodell mit deinen Nachrichten trainiert, auch "
            "nicht mit früheren. Schon vorhandene Dateien und Modelle ändern sich nicht."
        ),
        (
            "C'est fait : aucun modèle de langage ne sera plus entraîné avec tes messages, même "
            "anciens. Les fichiers et modèles déjà créés ne changent pas."
        ),
        (
            "Hecho: ningún modelo de lenguaje se entrenará con tus mensajes, tampoco con los "
            "anteriores. Los archivos y modelos que ya existen no cambian."
        ),
        (
            "完了しました。今後、以前のものも含めて、あなたのメッセージを言語モデルの学習に使いません。"
            "すでに作られたファイルやモデルは変わりません。"
        ),
    ),
    "training on": (
        ALLOWED,
        "Erledigt: Sprachmodelle dürfen mit deinen Nachrichten trainiert werden.",
        "C'est fait : des modèles de langage peuvent être entraînés avec tes messages.",
        "Hecho: se pueden entrenar modelos de lenguaje con tus mensajes.",
        "完了しました。あなたのメッセージを言語モデルの学習に使えます。",
    ),
    "better answer": (
        "A better answer",
        "Eine bessere Antwort",
        "Une meilleure réponse",
        "Una respuesta mejor",
        "より良い回答",
    ),
    "wrong?": (
        "What was wrong?",
        "Was war falsch?",
        "Qu'est-ce qui n'allait pas ?",
        "¿Qué estaba mal?",
        "問題点",
    ),
    "better?": (
        "What should the answer have been?",
        "Wie hätte die Antwort lauten sollen?",
        "Quelle aurait dû être la réponse ?",
        "¿Cuál debería haber sido la respuesta?",
        "正しい回答",
    ),
    "corrected": (
        "Thank you, I have noted it.",
        "Danke, ich habe es notiert.",
        "Merci, c'est noté.",
        "Gracias, tomo nota.",
        "ありがとうございます。記録しました。",
    ),
    "forget": (
        (
            "I can erase everything that I stored about you: your messages to me, my answers, "
            "files and ratings. This cannot be undone. Messages on Discord stay until you delete "
            "them."
        ),
        (
            "Ich kann alles löschen, was ich über dich gespeichert habe: deine Nachrichten an "
            "mich, meine Antworten, Dateien und Bewertungen. Das lässt sich nicht rückgängig "
            "machen. Nachrichten auf Discord bleiben, bis du sie löschst."
        ),
        (
            "Je peux effacer tout ce que j'ai enregistré sur toi : tes messages, mes réponses, "
            "fichiers et évaluations. C'est définitif. Les messages sur Discord restent jusqu'à ce "
            "que tu les supprimes."
        ),
        (
            "Puedo borrar todo lo que guardé sobre ti: tus mensajes, mis respuestas, archivos y "
            "valoraciones. No se puede deshacer. Los mensajes en Discord siguen hasta que los "
            "borres."
        ),
        (
            "あなたについて保存したメッセージ、回答、ファイル、評価をすべて消去できます。"
            "元に戻すことはできません。Discord上のメッセージは、ご自身で削除するまで残ります。"
        ),
    ),
    "exported": (
        (
            "This is what is recorded of you: your questions, my answers and your ratings. Only "
            "you can see it, so download it now."
        ),
        (
            "Das ist über dich aufgezeichnet: deine Fragen, meine Antworten und deine Bewertungen. "
            "Nur du kannst es sehen; lade es jetzt herunter."
        ),
        (
            "Voici ce qui est enregistré sur toi : tes questions, mes réponses et tes évaluations. "
            "Toi seul peux le voir ; télécharge-le maintenant."
        ),
        (
            "Esto es lo que está registrado sobre ti: tus preguntas, mis respuestas y tus "
            "valoraciones. Solo tú puedes verlo; descárgalo ahora."
        ),
        (
            "あなたについて記録されている質問、回答、評価です。"
            "見られるのはあなただけです。今すぐダウンロードしてください。"
        ),
    ),
    "export nothing": (
        "Nothing is recorded of you.",
        "Über dich ist nichts aufgezeichnet.",
        "Rien n'est enregistré sur toi.",
        "No hay nada registrado sobre ti.",
        "あなたについて記録されているものはありません。",
    ),
    "export failed": (
        (
            "I cannot give you the file right now. Please try again in a few minutes, or ask "
            "whoever runs this bot."
        ),
        (
            "Ich kann dir die Datei gerade nicht geben. Versuch es in ein paar Minuten noch "
            "einmal, oder frag die Leute, die diesen Bot betreiben."
        ),
        (
            "Je ne peux pas te donner le fichier pour le moment. Réessaie dans quelques minutes, "
            "ou demande à la personne qui gère ce bot."
        ),
        (
            "Ahora no puedo darte el archivo. Inténtalo de nuevo en unos minutos, o pregunta a "
            "quien gestiona este bot."
        ),
        (
            "今はファイルをお渡しできません。数分後にもう一度試すか、"
            "このボットの運営者にお問い合わせください。"
        ),
    ),
    "erase": (
        "Erase everything",
        "Alles löschen",
        "Tout effacer",
        "Borrar todo",
        "すべて消去",
    ),
    "erasing": (
        "I am erasing it now, and will tell you here when it is done.",
        "Ich lösche jetzt alles und melde mich hier, wenn es erledigt ist.",
        "J'efface tout maintenant et je te préviens ici quand c'est fait.",
        "Lo estoy borrando; te aviso aquí cuando termine.",
        "消去しています。完了したらここでお知らせします。",
    ),
    "help": (
        (
            "Mention me, reply to me or send me a direct message, and I will answer. In "
            "threads that I open, you do not need to mention me.\n"
            "`/ask` asks me a question, `/reset` makes me forget this conversation."
        ),
        (
            "Erwähne mich, antworte mir oder schreib mir direkt, dann antworte ich. In einem "
            "Thread, den ich eröffnet habe, geht es ohne Erwähnung.\n"
            "`/ask` fragt, `/reset` lässt mich dieses Gespräch vergessen."
        ),
        (
            "Mentionne-moi, réponds-moi ou écris-moi en privé, et je réponds. Dans un fil que j'ai "
            "ouvert, c'est inutile.\n`/ask` pose une question, `/reset` me fait oublier cette "
            "conversation."
        ),
        (
            "Mencióname, respóndeme o escríbeme en privado y te respondo. En un hilo que abrí no "
            "hace falta.\n`/ask` pregunta, `/reset` me hace olvidar esta conversación."
        ),
        (
            "メンション、返信、ダイレクトメッセージのいずれかで質問してください。私が作成したスレッドでは"
            "メンションは不要です。\n`/ask` で質問、`/reset` でこの会話を忘れます。"
        ),
    ),
    "not yours": (
        "Only the person who asked can do this.",
        "Das kann nur, wer gefragt hat.",
        "Seule la personne qui a posé la question peut faire cela.",
        "Solo puede hacerlo quien preguntó.",
        "質問した本人だけが操作できます。",
    ),
    "not taken": (
        "I could not accept this just now. Please try again in a minute.",
        "Das konnte ich gerade nicht annehmen. Bitte versuch es gleich noch einmal.",
        "Je n'ai pas pu le prendre en compte. Réessaie dans une minute.",
        "No pude recibirlo ahora. Inténtalo de nuevo en un minuto.",
        "今は受け付けられませんでした。少し後でもう一度お試しください。",
    ),
    "too long": (
        "This is too long for me. Please send it in several messages.",
        "Das ist mir zu lang. Bitte schick es in Stücken.",
        "C'est trop long pour moi. Envoie-le en plusieurs morceaux.",
        "Es demasiado largo. Envíalo por partes.",
        "長すぎます。分けて送ってください。",
    ),
    "over quota": (
        (
            "You have sent me more than I can store for one person, so I did not accept this. "
            "Please try again later."
        ),
        (
            "Du hast mir mehr geschickt, als ich für eine Person aufbewahren kann; das hier habe "
            "ich nicht angenommen. Bitte versuch es später noch einmal."
        ),
        (
            "Tu m'as envoyé plus que je ne peux conserver pour une personne : je n'ai pas pris "
            "ceci en compte. Réessaie plus tard."
        ),
        (
            "Me has enviado más de lo que puedo guardar para una persona, así que no recibí esto. "
            "Inténtalo más tarde."
        ),
        "お一人分として保存できる量を超えたため、受け付けられませんでした。後でもう一度お試しください。",
    ),
    "no room": (
        (
            "I have no room for files right now, so I will answer without yours. "
            "Please send it again later."
        ),
        (
            "Ich habe gerade keinen Platz für Dateien und antworte daher ohne deine Datei. "
            "Bitte schick sie später noch einmal."
        ),
        (
            "Je n'ai plus de place pour les fichiers en ce moment : je réponds sans le tien. "
            "Renvoie-le plus tard."
        ),
        (
            "Ahora no tengo espacio para archivos, así que respondo sin el tuyo. "
            "Envíalo de nuevo más tarde."
        ),
        "現在ファイルを保存する空きがないため、ファイルなしで回答します。後でもう一度送ってください。",
    ),
    "unreadable": (
        "I cannot read this message. Please send it again as plain text.",
        "Diese Nachricht kann ich nicht lesen. Bitte schick sie noch einmal als einfachen Text.",
        "Je n'arrive pas à lire ce message. Renvoie-le en texte simple.",
        "No puedo leer este mensaje. Envíalo de nuevo como texto sin formato.",
        "このメッセージを読み取れません。プレーンテキストでもう一度送ってください。",
    ),
    "elsewhere": (
        "I am not allowed to post where you asked, so I am answering you here.",
        "Wo du gefragt hast, darf ich nicht schreiben; deshalb antworte ich dir hier.",
        "Je n'ai pas le droit d'écrire là où tu as posé ta question : je te réponds ici.",
        "No puedo escribir donde preguntaste, así que te respondo aquí.",
        "質問された場所には書き込めないため、こちらで回答します。",
    ),
    "takes longer": (
        "This is taking longer than usual. I will post the answer as a new message.",
        "Das dauert länger als sonst. Die Antwort kommt als eigene Nachricht.",
        "Cela prend plus de temps que d'habitude. La réponse viendra dans un autre message.",
        "Esto tarda más de lo normal. La respuesta llegará en otro mensaje.",
        "通常より時間がかかっています。回答は別のメッセージで届きます。",
    ),
}


def language_of(locale: object) -> int:
    """The index of a locale's language; English for all others."""
    name = str(getattr(locale, "value", locale)).partition("-")[0]
    return LANGUAGES.index(name) if name in LANGUAGES else 0


def not_stored(error: OverQuota | TooLarge) -> str:
    """The key of the notice for a message that is too large, or for which there is no room."""
    if isinstance(error, TooLarge):
        return "too long"
    return "not taken" if isinstance(error, StoreFull) else "over quota"


def notice_text(key: str, locale: object = "en") -> str:
    """One of the bot's messages, in the language of a locale."""
    return NOTICES[key][language_of(locale)]


class CommandNames(app_commands.Translator):
    """Translates the commands' names and descriptions for each language of Discord's clients."""

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,  # noqa: ARG002
    ) -> str | None:
        """The translation; None keeps the English text."""
        language = language_of(locale)
        known = COMMAND_TEXTS.get(string.message)
        return known[language - 1] if known and language else None
