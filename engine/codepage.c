#include "codepage.h"

#include "bytes.h"
#include "upcase.h"
#include "utf.h"

#include <stdio.h>

/* clang-format off */
static struct codepage pages[] = {
    {.number = 437,
     .upper = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘"
              "┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0"},
    {.number = 737,
     .upper = "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩαβγδεζηθικλμνξοπρσςτυφχψ░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘"
              "┌█▄▌▐▀ωάέήϊίόύϋώΆΈΉΊΌΎΏ±≥≤ΪΫ÷≈°∙·√ⁿ²■\u00a0"},
    {.number = 775,
     .upper = "ĆüéāäģåćłēŖŗīŹÄÅÉæÆōöĢ¢ŚśÖÜø£Ø×¤ĀĪóŻżź”¦©®¬½¼Ł«»░▒▓│┤ĄČĘĖ╣║╗╝ĮŠ┐└┴┬├─┼ŲŪ╚╔╩╦╠═╬Žąčęėįšųūž┘"
              "┌█▄▌▐▀ÓßŌŃõÕµńĶķĻļņĒŅ’\u00ad±“¾¶§÷„°∙·¹³²■\u00a0"},
    {.number = 850,
     .upper = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘"
              "┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u00ad±‗¾¶§÷¸°¨·¹³²■\u00a0"},
    {.number = 852,
     .upper = "ÇüéâäůćçłëŐőîŹÄĆÉĹĺôöĽľŚśÖÜŤťŁ×čáíóúĄąŽžĘę¬źČş«»░▒▓│┤ÁÂĚŞ╣║╗╝Żż┐└┴┬├─┼Ăă╚╔╩╦╠═╬¤đĐĎËďŇÍÎě┘"
              "┌█▄ŢŮ▀ÓßÔŃńňŠšŔÚŕŰýÝţ´\u00ad˝˛ˇ˘§÷¸°¨˙űŘř■\u00a0"},
    {.number = 855,
     .upper = "ђЂѓЃёЁєЄѕЅіІїЇјЈљЉњЊћЋќЌўЎџЏюЮъЪаАбБцЦдДеЕфФгГ«»░▒▓│┤хХиИ╣║╗╝йЙ┐└┴┬├─┼кК╚╔╩╦╠═╬¤лЛмМнНоОп┘"
              "┌█▄Пя▀ЯрРсСтТуУжЖвВьЬ№\u00adыЫзЗшШэЭщЩчЧ§■\u00a0"},
    {.number = 857,
     .upper = "ÇüéâäàåçêëèïîıÄÅÉæÆôöòûùİÖÜø£ØŞşáíóúñÑĞğ¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ºªÊËÈ"
              "\uf7d5ÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµ\uf7e7×ÚÛÙìÿ¯´\u00ad±\uf7f2¾¶§÷¸°¨·¹³²■\u00a0"},
    {.number = 858,
     .upper = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈ€ÍÎÏ┘"
              "┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u00ad±‗¾¶§÷¸°¨·¹³²■\u00a0"},
    {.number = 860,
     .upper = "ÇüéâãàÁçêÊèÍÔìÃÂÉÀÈôõòÚùÌÕÜ¢£Ù₧ÓáíóúñÑªº¿Ò¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘"
              "┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0"},
    {.number = 861,
     .upper = "ÇüéâäàåçêëèÐðÞÄÅÉæÆôöþûÝýÖÜø£Ø₧ƒáíóúÁÍÓÚ¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘"
              "┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0"},
    {.number = 862,
     .upper = "\u05d0\u05d1\u05d2\u05d3\u05d4\u05d5\u05d6\u05d7\u05d8\u05d9\u05da\u05db\u05dc\u05dd\u05de"
              "\u05df\u05e0\u05e1\u05e2\u05e3\u05e4\u05e5\u05e6\u05e7\u05e8\u05e9\u05ea¢£¥₧ƒáíóúñÑªº¿⌐¬½¼"
              "¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0"},
    {.number = 863,
     .upper = "ÇüéâÂà¶çêëèïî‗À§ÉÈÊôËÏûù¤ÔÜ¢£ÙÛƒ¦´óú¨¸³¯Î⌐¬½¼¾«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘"
              "┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0"},
    {.number = 865,
     .upper = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø₧ƒáíóúñÑªº¿⌐¬½¼¡«¤░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘"
              "┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0"},
    {.number = 866,
     .upper = "АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмноп░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘"
              "┌█▄▌▐▀рстуфхцчшщъыьэюяЁёЄєЇїЎў°∙·√№¤■\u00a0"},
    {.number = 869,
     .upper = "\uf780\uf781\uf782\uf783\uf784\uf785Ά\uf787·¬¦‘’Έ―ΉΊΪΌ\uf793\uf794ΎΫ©Ώ²³ά£έήίϊΐόύΑΒΓΔΕΖΗ½Θ"
              "Ι«»░▒▓│┤ΚΛΜΝ╣║╗╝ΞΟ┐└┴┬├─┼ΠΡ╚╔╩╦╠═╬ΣΤΥΦΧΨΩαβγ┘┌█▄δε▀ζηθικλμνξοπρσςτ΄\u00ad±υφχ§ψ΅°¨ωϋΰώ■"
              "\u00a0"},
    {.number = 874,
     .upper = "€\uf781\uf782\uf783\uf784…\uf786\uf787\uf788\uf789\uf78a\uf78b\uf78c\uf78d\uf78e\uf78f"
              "\uf790‘’“”•–—\uf798\uf799\uf79a\uf79b\uf79c\uf79d\uf79e\uf79f\u00a0กขฃคฅฆงจฉชซฌญฎฏฐฑฒณดตถท"
              "ธนบปผฝพฟภมยรฤลฦวศษสหฬอฮฯะ\u0e31าำ\u0e34\u0e35\u0e36\u0e37\u0e38\u0e39\u0e3a\uf7db\uf7dc"
              "\uf7dd\uf7de฿เแโใไๅๆ\u0e47\u0e48\u0e49\u0e4a\u0e4b\u0e4c\u0e4d\u0e4e๏๐๑๒๓๔๕๖๗๘๙๚๛\uf7fc"
              "\uf7fd\uf7fe\uf7ff"},
    {.number = 1250,
     .upper = "€\uf781‚\uf783„…†‡\uf788‰Š‹ŚŤŽŹ\uf790‘’“”•–—\uf798™š›śťžź\u00a0ˇ˘Ł¤Ą¦§¨©Ş«¬\u00ad®Ż°±˛ł´µ¶"
              "·¸ąş»Ľ˝ľżŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢßŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙"},
    {.number = 1251,
     .upper = "ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—\uf798™љ›њќћџ\u00a0ЎўЈ¤Ґ¦§Ё©Є«¬\u00ad®Ї°±Ііґµ¶·ё№є»јЅѕїАБВГДЕЖЗИЙК"
              "ЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмнопрстуфхцчшщъыьэюя"},
    {.number = 1252,
     .upper = "€\uf781‚ƒ„…†‡ˆ‰Š‹Œ\uf78dŽ\uf78f\uf790‘’“”•–—˜™š›œ\uf79džŸ\u00a0¡¢£¤¥¦§¨©ª«¬\u00ad®¯°±²³´µ¶"
              "·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ"},
    {.number = 1253,
     .upper = "€\uf781‚ƒ„…†‡\uf788‰\uf78a‹\uf78c\uf78d\uf78e\uf78f\uf790‘’“”•–—\uf798™\uf79a›\uf79c\uf79d"
              "\uf79e\uf79f\u00a0΅Ά£¤¥¦§¨©\uf7aa«¬\u00ad®―°±²³΄µ¶·ΈΉΊ»Ό½ΎΏΐΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡ\uf7d2ΣΤΥΦΧΨΩ"
              "ΪΫάέήίΰαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώ\uf7ff"},
    {.number = 1254,
     .upper = "€\uf781‚ƒ„…†‡ˆ‰Š‹Œ\uf78d\uf78e\uf78f\uf790‘’“”•–—˜™š›œ\uf79d\uf79eŸ\u00a0¡¢£¤¥¦§¨©ª«¬"
              "\u00ad®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏĞÑÒÓÔÕÖ×ØÙÚÛÜİŞßàáâãäåæçèéêëìíîïğñòóôõö÷øùúûüışÿ"},
    {.number = 1255,
     .upper = "€\uf781‚ƒ„…†‡ˆ‰\uf78a‹\uf78c\uf78d\uf78e\uf78f\uf790‘’“”•–—˜™\uf79a›\uf79c\uf79d\uf79e"
              "\uf79f\u00a0¡¢£₪¥¦§¨©×«¬\u00ad®¯°±²³´µ¶·¸¹÷»¼½¾¿\u05b0\u05b1\u05b2\u05b3\u05b4\u05b5\u05b6"
              "\u05b7\u05b8\u05b9\uf7ca\u05bb\u05bc\u05bd\u05be\u05bf\u05c0\u05c1\u05c2\u05c3\u05f0\u05f1"
              "\u05f2\u05f3\u05f4\uf7d9\uf7da\uf7db\uf7dc\uf7dd\uf7de\uf7df\u05d0\u05d1\u05d2\u05d3\u05d4"
              "\u05d5\u05d6\u05d7\u05d8\u05d9\u05da\u05db\u05dc\u05dd\u05de\u05df\u05e0\u05e1\u05e2\u05e3"
              "\u05e4\u05e5\u05e6\u05e7\u05e8\u05e9\u05ea\uf7fb\uf7fc\u200e\u200f\uf7ff"},
    {.number = 1256,
     .upper = "€\u067e‚ƒ„…†‡ˆ‰\u0679‹Œ\u0686\u0698\u0688\u06af‘’“”•–—\u06a9™\u0691›œ\u200c\u200d\u06ba"
              "\u00a0،¢£¤¥¦§¨©\u06be«¬\u00ad®¯°±²³´µ¶·¸¹\u061b»¼½¾\u061f\u06c1\u0621\u0622\u0623\u0624"
              "\u0625\u0626\u0627\u0628\u0629\u062a\u062b\u062c\u062d\u062e\u062f\u0630\u0631\u0632\u0633"
              "\u0634\u0635\u0636×\u0637\u0638\u0639\u063a\u0640\u0641\u0642\u0643à\u0644â\u0645\u0646"
              "\u0647\u0648çèéêë\u0649\u064aîï\u064b\u064c\u064d\u064eô\u064f\u0650÷\u0651ù\u0652ûü\u200e"
              "\u200f\u06d2"},
    {.number = 1257,
     .upper = "€\uf781‚\uf783„…†‡\uf788‰\uf78a‹\uf78c¨ˇ¸\uf790‘’“”•–—\uf798™\uf79a›\uf79c¯˛\uf79f\u00a0"
              "\uf7a1¢£¤\uf7a5¦§Ø©Ŗ«¬\u00ad®Æ°±²³´µ¶·ø¹ŗ»¼½¾æĄĮĀĆÄÅĘĒČÉŹĖĢĶĪĻŠŃŅÓŌÕÖ×ŲŁŚŪÜŻŽßąįāćäåęēčéźė"
              "ģķīļšńņóōõö÷ųłśūüżž˙"},
    {.number = 1258,
     .upper = "€\uf781‚ƒ„…†‡ˆ‰\uf78a‹Œ\uf78d\uf78e\uf78f\uf790‘’“”•–—˜™\uf79a›œ\uf79d\uf79eŸ\u00a0¡¢£¤¥¦§"
              "¨©ª«¬\u00ad®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂĂÄÅÆÇÈÉÊË\u0300ÍÎÏĐÑ\u0309ÓÔƠÖ×ØÙÚÛÜƯ\u0303ßàáâăäåæçèéêë"
              "\u0301íîïđñ\u0323óôơö÷øùúûüư₫ÿ"},
};
/* clang-format on */

static const struct codepage *chosen;

static void decode_page(struct codepage *page)
{
    const char *p = page->upper;
    size_t left = strlen(p);
    for (unsigned i = 0; i < 128; i++) {
        uint32_t code = 0;
        size_t len = utf8_decode(p, left, &code);
        page->units[i] = (uint16_t)code;
        p += len;
        left -= len;
    }
    for (unsigned i = 0; i < 128; i++) {
        unsigned at = i;
        for (; at > 0 && page->units[page->order[at - 1]] > page->units[i]; at--)
            page->order[at] = page->order[at - 1];
        page->order[at] = (uint16_t)i;
    }
    page->ready = true;
}

const struct codepage *codepage_find(unsigned number)
{
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (pages[i].number != number)
            continue;
        if (!pages[i].ready)
            decode_page(&pages[i]);
        return &pages[i];
    }
    return NULL;
}

const struct codepage *codepage_default(void)
{
    return chosen ? chosen : codepage_find(437);
}

bool codepage_set_default(unsigned number, struct error *err)
{
    const struct codepage *page = codepage_find(number);
    if (!page) {
        char known[200] = "";
        for (size_t i = 0, used = 0; i < ARRAY_LEN(pages); i++)
            used += (size_t)snprintf(known + used, sizeof known - used, " %u", pages[i].number);
        return fail(err, E_INVALID, "there is no code page %u (there are:%s)", number, known);
    }
    chosen = page;
    return true;
}

uint16_t codepage_to_unit(const struct codepage *page, uint8_t byte)
{
    return byte < 0x80 ? byte : page->units[byte - 0x80];
}

bool codepage_from_unit(const struct codepage *page, uint16_t unit, uint8_t *byte)
{
    if (unit < 0x80) {
        *byte = (uint8_t)unit;
        return true;
    }
    unsigned low = 0, high = 128;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (page->units[page->order[middle]] < unit)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 128 || page->units[page->order[low]] != unit)
        return false;
    *byte = (uint8_t)(0x80 + page->order[low]);
    return true;
}

uint8_t codepage_upcase(const struct codepage *page, uint8_t byte)
{
    uint8_t upper;
    if (byte < 0x80)
        return (uint8_t)upcase_unit(byte);
    return codepage_from_unit(page, upcase_unit(codepage_to_unit(page, byte)), &upper) ? upper : byte;
}
