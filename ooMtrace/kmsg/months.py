# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: RUF001 - letters of other alphabets that look like Latin ones
"""The names of months in the languages of glibc's locales, abbreviated and full. Pure.

Some name two months: Croatian lip, srp and lis are Polish and Czech, too. These stand for what more speakers mean.
"""

from __future__ import annotations

NAMES = (
    (
        "jan janv ene gen sty led янв januar january janvier enero gennaio styczeń leden tammi oca ean ian ion "
        "jaan jän saus sij urt xan ιαν сту січ яну јан қаң հնվ ינו ينا يناير ژانویه जन॰ জানু ஜன ม.ค იან"
    ),
    (
        "feb févr fév fev lut úno фев febr février febrero febbraio fevereiro luty februar february helmi şub chw "
        "feabh ots shk vas veebr velj φεβ ақп лют феб փտր פבר شباط فبر فبراير فوریه फ़र॰ ফেব பிப் ก.พ თებ"
    ),
    (
        "mar mär mrz mars mrt marzo março marca мар märz march maalis bře kov mac márc març márta märts ožu μάρ "
        "μαρ бер нау сак մար מרץ آذار مار مارس मार्च মার্চ மார் มี.ค მარ"
    ),
    (
        "apr avr abr kwi dub апр avril abril aprile april huhti nis aib api bal d’abr ebr pri tra ápr απρ кві кра "
        "сәу ապր אפר آوریل أبر أبريل نيسان अप्रैल এপ্রিল ஏப் เม.ย აპრ"
    ),
    (
        "may mai mei maj mag kvě май мая maggio mayo maio touko beal geg maig maí máj svi μάι μαΐ мам мај тра մայ "
        "מאי أيار ماي مايو مه मई মে மே พ.ค მაი"
    ),
    (
        "jun juin giu cze čvn июн juni junio giugno june kesä haz birž eka iun i̇yn juny juuni jún jūn meh meith "
        "qer xuñ čen ιουν ιούν мау чер чэр юни јун հնս יונ حزيران يون يونيو ژوئن जून জুন ஜூன் มิ.ย ივნ"
    ),
    (
        "jul juil lug lip čvc июл juli julio luglio july heinä tem gor iul iúil i̇yl jui juuli júl jūl liep uzt "
        "xul čec ιουλ ιούλ лип ліп шіл юли јул հլս יול تموز يول يوليو ژوئیه जुल॰ জুলাই ஜூலை ก.ค ივლ"
    ),
    (
        "aug aoû août ago sie srp авг elo ağu august agosto abu ag agu avg avq aws d’ag gsh kol lún ogos rugp ágú "
        "αυγ αύγ жні сер там օգս אוג آب أغس أغسطس اوت अग॰ আগস্ট ஆக ส.ค აგვ"
    ),
    (
        "sep sept set wrz zář сен september septembre syys eyl ira med mfómh rugs sen sht szept σεπ вер сеп қыр "
        "սեպ ספט أيلول سبت سبتمبر سپتامبر सित॰ সেপ্টেম্বর செப் ก.ย სექ"
    ),
    (
        "oct okt ott paź říj окт out ekim eki oktober october octobre loka dfómh d’oct hyd spal urr οκτ жов кас "
        "қаз հոկ אוק أكت أكتوبر اكتبر अक्तू॰ অক্টোবর அக் ต.ค ოქტ"
    ),
    (
        "nov lis ноя november novembre marras kas aza lapkr noy nën nóv samh tach νοέ νοε лис ліс нов ное қар նմբ "
        "נוב نوامبر نوف نوفمبر नव॰ নভেম্বর நவ พ.ย ნოე"
    ),
    (
        "dec dez déc dic gru pro дек ara december dezember décembre joulu des abe dek dets dhj dis gruod noll rha "
        "δεκ гру дец жел сне դեկ דצמ دسامبر ديس ديسمبر दिस॰ ডিসেম্বর டிச ธ.ค დეკ"
    ),
)

MONTHS = {name: number for number, names in enumerate(NAMES, 1) for name in names.split()}
