//! The names that fields have, by what they say. `_word_` stands alone, anything else is looked for inside the words
//! put together. In lower case and without accents, which `keys.rs` takes off.

use super::Hint;
use crate::class::{Class, ClassSet};

pub(super) fn table() -> impl Iterator<Item = (Hint, &'static str)> {
    let classes = CLASSES
        .iter()
        .map(|(class, patterns)| (Hint { classes: ClassSet::just(*class), flags: 0 }, *patterns));
    classes.chain(
        FLAGS.iter().map(|(flags, patterns)| (Hint { classes: ClassSet::EMPTY, flags: *flags }, *patterns)),
    )
}

const CLASSES: &[(Class, &str)] = &[
    (
        Class::CARD,
        "_pan_ _card_ _cards_ _cc_ _ccn_ _ccnum_ _cardno_ cardnumber creditcard debitcard bankcard paymentcard \
         cardpan ccnumber primaryaccountnumber kreditkarte kartennummer kartennr _karte_ cartebancaire \
         cartedecredit numerocarte numerodecarte tarjeta cartao numerocarta cartadicredito kortnummer kartnummer \
         kortnr luottokort kartanumero kartnumarasi kartnumar kredikarti numerkarty kartaplatnicza cislokarty \
         номеркарты банковскаякарта 卡号 卡號 信用卡 银行卡 銀行卡 カード番号 クレジットカード 카드번호 신용카드 \
         visacard mastercard unionpay _amex_ _visa_",
    ),
    (
        Class::IBAN,
        "_iban_ _ibans_ ibannumber accountiban bankaccount bankverbindung comptebancaire cuentabancaria \
         contocorrente rekeningnummer kontonummer _konto_",
    ),
    (Class::BIC, "_bic_ _swift_ swiftcode biccode swiftbic bicswift bankidentifiercode"),
    (Class::ABA, "_aba_ _rtn_ _routing_ routingnumber routingno routingtransit abanumber abarouting"),
    (
        Class::EMAIL,
        "_email_ _emails_ _mail_ _e_mail_ emailaddress mailaddress correo courriel adressemail emailadresse \
         postaelettronica sahkoposti eposta _epost_ epostadress 邮箱 郵箱 电子邮件 電子郵件 メール 이메일 почта",
    ),
    (
        Class::PHONE,
        "_phone_ _phones_ _tel_ _tels_ _telephone_ _mobile_ _cell_ _fax_ _msisdn_ _telno_ _mobil_ _whatsapp_ _ph_ \
         phonenumber telephone telefon telefono mobilephone cellphone mobilenumber mobileno cellnumber phoneno \
         contactnumber contactno handynummer _handy_ rufnummer _portable_ _celular_ _movil_ _cellulare_ telemovel \
         matkapuhelin puhelin phonenr телефон мобильный 电话 電話 手机 手機 联系方式 携帯 전화 휴대폰 연락처 \
         핸드폰 \
         dienthoai โทรศัพท์ _call_ _called_ _caller_ _dial_ _sms_ hotline callerid faxnumber telefoonnummer \
         mobilnummer mobielnummer telefonnummer _komorka_ _тел_ τηλεφωνο هاتف फ़ोन _sdt_ nomorhp notelp",
    ),
    (
        Class::CN_MOBILE,
        "手机 手機 _mobile_ _phone_ _phones_ phonenumber mobilenumber mobilephone mobileno phoneno contactnumber 电话 \
         電話 联系方式 shouji _tel_ cellphone telephone _cell_ _msisdn_ _call_ _sms_",
    ),
    (
        Class::ADDRESS,
        "_address_ _street_ _addr_ _address1_ _address2_ _line1_ _line2_ addressline streetaddress homeaddress \
         postaladdress mailingaddress shippingaddress billingaddress deliveryaddress residentialaddress \
         residenceaddress streetname streetline _strasse_ strasse straße anschrift wohnadresse lieferadresse \
         rechnungsadresse _adresse_ adressezeile _rue_ adressepostale direccion domicilio _calle_ indirizzo \
         residenza endereco logradouro _adres_ woonadres straatnaam _straat_ _adress_ gatuadress postadress \
         _osoite_ katuosoite _ulica_ _adresa_ adreszamieszkania 地址 住址 住所 주소 адрес улица diachi ที่อยู่ \
         fulladdress formattedaddress _rua_ _residence_ _domicile_ _wohnort_ _lakcim_ _sokak_ _alamat_ _ulice_ διευθυνση \
         عنوان כתובת पता 배송지",
    ),
    (
        Class::NAME,
        "_fname_ _lname_ firstname lastname _f_name_ _l_name_ fullname givenname familyname surname forename middlename maidenname \
         legalname preferredname cardholder nameoncard accountholder beneficiaryname customername clientname \
         patientname employeename contactname recipientname sendername payeename payername passengername guestname \
         membername subscribername ownername holdername drivername applicantname studentname teachername \
         doctorname \
         personname authorname buyername sellername consigneename receivername attendeename insuredname donorname \
         spousename mothername fathername vorname nachname familienname _zuname_ geburtsname kundenname \
         ansprechpartner prenom nomdefamille nomcomplet nomclient _nombres_ nombrecompleto \
         nombrecliente apellido custname kontoinhaber karteninhaber titularcuenta nomtitulaire nometitular \
         _cognome_ nomecompleto sobrenome voornaam achternaam volledigenaam fornamn \
         efternamn fornavn efternavn etternavn etunimi sukunimi kokonimi _imie_ _nazwisko_ imienazwisko \
         imieinazwisko _jmeno_ prijmeni adsoyad _soyad_ soyadi prenume keresztnev vezeteknev имя фамилия отчество \
         _фио_ 姓名 名字 持卡人 收货人 氏名 お名前 名前 苗字 フリガナ 성명 이름 고객명 성함 hovaten _hoten_ ชื่อ \
         الاسم नाम contactperson emergencycontact nextofkin _signed_by_ signedby insuredperson _attn_ namalengkap επωνυμο \
         ονοματεπωνυμο _姓_ _名_",
    ),
    (
        Class::BIRTH_DATE,
        "_dob_ _birthdate_ _birthday_ _born_ _birth_ _bday_ dateofbirth birthdate birthday birthdt geburtsdatum \
         geburtstag _geboren_ _geb_ datenaissance datedenaissance _nee_ fechanacimiento fechadenacimiento \
         nacimiento datanascita datadinascita datanascimento datadenascimento nascimento geboortedatum \
         fodelsedatum \
         fodselsdato fodselsdag syntymaaika dataurodzenia datumnarozeni datumnarodenia _fodd_ _nato_il_ _nele_ _ne_le_ _geb_datum_ fechanac datanasc tanggallahir _tgl_lahir_ датанародження תאריךלידה dogumtarihi datanasterii \
         szuletesi naissance _gebdat_ _gebdatum_ تاريخالميلاد जन्मतिथि जन्मकीतारीख ημερομηνιαγεννησ датарождения \
         出生 生日 生年月日 誕生日 생년월일 생일 ngaysinh วันเกิด",
    ),
    (
        Class::GEO_POINT,
        "_geo_ _gps_ _latlng_ _latlon_ _latlong_ _coordinates_ _coords_ _coord_ _geopoint_ _location_ geolocation \
         coordinates latlng latlon lonlat lnglat geopoint koordinaten coordonnees coordenadas _position_ 坐标 座標",
    ),
    (Class::US_SSN, "_ssn_ _ssns_ _tin_ socialsecurity ssnnumber _ssno_ taxpayerid"),
    (Class::US_ITIN, "_itin_ taxpayer _tin_ taxidnumber"),
    (
        Class::CN_ID,
        "身份证 身份證 证件号 證件號 公民身份 idcard residentid shenfenzheng _sfzh_ _sfz_ citizenid identitycard \
         nationalid _id_no_ identitynumber",
    ),
    (Class::GB_NINO, "_nino_ _ni_ nationalinsurance ninumber _nin_"),
    (Class::GB_NHS, "_nhs_ nhsnumber nhsno nationalhealth"),
    (Class::IN_AADHAAR, "_uidai_ aadhaar aadhar adhaar आधार"),
    (
        Class::DE_TAX_ID,
        "_idnr_ _id_nr_ _steuer_ _tin_ steuerid steueridentifikationsnummer steuernummer steueridnr identifikationsnummer \
         taxid taxnumber",
    ),
    (Class::IT_CF, "_cf_ codicefiscale codfisc fiscalcode taxcode"),
    (Class::ES_DNI, "_dni_ _nif_ documentonacional"),
    (Class::ES_NIE, "_nie_ _nif_ extranjero"),
    (Class::FR_NIR, "_nir_ _insee_ securitesociale numerosecu numerodesecurite _secu_ _nss_ numeroinsee"),
    (Class::BR_CPF, "_cpf_ numerocpf cadastropessoa"),
    (Class::BR_CNPJ, "_cnpj_ numerocnpj cadastronacional"),
    (Class::SG_NRIC, "_nric_ _fin_ nricno nricnumber finnumber"),
    (
        Class::KR_RRN,
        "_rrn_ _jumin_ residentregistration 주민등록번호 주민번호 juminnumber 외국인등록번호 koreanid",
    ),
    (Class::JP_MY_NUMBER, "mynumber _individual_number_ マイナンバー 個人番号"),
    (Class::JP_CORPORATE, "corporatenumber 法人番号 houjinbangou hojinbango"),
    (Class::PL_PESEL, "pesel"),
    (Class::NL_BSN, "_bsn_ burgerservice sofinummer _sofi_"),
    (Class::SE_PNR, "personnummer samordningsnummer _pnr_ personnr"),
    (Class::FI_HETU, "_hetu_ henkilotunnus"),
    (Class::NO_FNR, "_fnr_ fodselsnummer fodselsnr dnummer personnummer"),
    (Class::RO_CNP, "_cnp_ codnumeric"),
    (Class::CZ_RC, "_rc_ rodnecislo _rodne_ birthnumber"),
    (Class::TR_TCKN, "_tckn_ kimlikno tckimlik kimliknumarasi _tc_no_ _tcno_ _kimlik_"),
    (Class::CH_AHV, "_ahv_ _avs_ _avsno_ ahvnummer ahvnr numeroavs sozialversicherung _oasi_"),
    (Class::CA_SIN, "_sin_ socialinsurance sinnumber _nas_ assurancesociale"),
    (Class::AU_TFN, "_tfn_ taxfile"),
    (Class::MX_CURP, "_curp_ claveunica"),
    (Class::AR_CUIT, "_cuit_ _cuil_ cuitcuil"),
    (Class::CL_RUT, "_rut_ rolunico"),
    (Class::HK_ID, "hkid hongkongid 身份證 身份证 _id_card_ identitycard nationalid"),
    (Class::TW_ID, "身分證 身份證 _twid_ _tw_id_ taiwanid nationalid _id_card_ identitycard"),
    (Class::TH_ID, "thaiid thainational nationalid citizenid บัตรประชาชน"),
    (Class::ZA_ID, "_said_ southafrican _rsa_ _sa_id_ zaid rsaid nationalid idnumber identitynumber"),
    (Class::MRZ, "_mrz_ machinereadable passport"),
    (Class::AWS_KEY, "secretaccesskey awssecret accesskeyid awsaccesskey _aws_key_"),
    (
        Class::IP,
        "_ip_ _ips_ _ipv4_ _ipv6_ _ipaddr_ ipaddress remoteaddr remoteip clientip sourceip ipadresse adresseip \
         direccionip forwardedfor hostip",
    ),
    (Class::MAC, "_mac_ macaddress macaddr hwaddr hardwareaddress ethernetaddress _bssid_ adressemac"),
    (Class::BTC, "_btc_ bitcoin walletaddress _wallet_ cryptoaddress"),
    (Class::ETH, "_eth_ ethereum ethaddress walletaddress _wallet_ cryptoaddress _erc20_ ethwallet"),
    (Class::IMEI, "imei 串号"),
    (
        Class::VIN,
        "_vin_ vinnumber vehicleidentification vehiclevin fahrgestellnummer _fin_ chassisnumber chassisno \
         numerodechasis 车架号 _chassis_",
    ),
    (Class::LEI, "_lei_ legalentityidentifier leicode"),
    (Class::ISIN, "_isin_ isincode securityid"),
];

const FLAGS: &[(u32, &str)] = &[
    (
        Hint::BENIGN,
        "orderid orderno ordernumber invoiceno authcode chargeid _tracking_ trackingn _waybill_ _awb_ _sku_ _sscc_ _isbn_ _isbn13_ \
         _isbn10_ _issn_ _ean_ _ean13_ _gtin_ _gtin14_ _gtin13_ _upc_ _asin_ _mpn_ _barcode_ _serial_ serialn \
         _version_ _commit_ _sha_ _sha1_ _sha256_ _md5_ _hash_ _digest_ _checksum_ _etag_ _crc_ _traceid_ \
         _spanid_ _traceparent_ _requestid_ _correlation_ _uuid_ _guid_ _timestamp_ _timestamps_ _ts_ _time_ \
         _created_ _updated_ _modified_ _date_ _epoch_ _millis_ _ms_ _nanos_ _ns_ _micros_ _seq_ _sequence_ \
         _offset_ _partition_ _count_ _counter_ _total_ _subtotal_ _amount_ _price_ _cost_ _balance_ _qty_ \
         _quantity_ _size_ _bytes_ _length_ _duration_ _latency_ _elapsed_ _port_ _pid_ _score_ _ratio_ \
         _percent_ _temperature_ _weight_ _height_ _width_ _depth_ _revision_ _rev_ _productid_ _itemid_ \
         _partno_ _partnumber_ _txid_ _nonce_ _blockheight_ _po_ _cursor_ _index_ _lsn_ _gtid_ _xid_ _tid_ \
         _threshold_ _speed_ _distance_ _volume_ _rate_ _reading_ _meter_ _sensor_ _measurement_ _signature_ \
         _fingerprint_ _thumbprint_ _eventid_ _messageid_ _message_id_ _event_id_ _jobid_ _snowflake_ \
         _postid_ _videoid_ _hscode_ _tariff_ bestellnummer rechnungsnummer sendungsnummer artikelnummer 运单 \
         快递单号 流水号 单号 伝票 商品番号 追跡番号 송장번호 накладная _waybills_ _skus_ _eans_ _gtins_ \
         _upcs_ _barcodes_ _serials_ _versions_ _commits_ _hashes_ _digests_ _checksums_ _uuids_ _guids_ \
         _times_ _dates_  _sequences_ _offsets_ _partitions_ _counts_ _counters_ _totals_ \
         _subtotals_ _amounts_ _prices_ _costs_ _balances_ _quantities_ _sizes_ _lengths_ _durations_ \
         _latencies_ _ports_ _pids_ _scores_ _ratios_ _percents_ _temperatures_ _weights_ _heights_ _widths_ \
         _depths_ _revisions_ _cursors_ _thresholds_ _speeds_ _distances_ _volumes_ _rates_ _readings_ \
         _meters_ _sensors_ _measurements_ _signatures_ _fingerprints_ _thumbprints_",
    ),
    (
        Hint::BENIGN | Hint::AFFAIR,
        "_order_ _orders_ _ord_ _invoice_ _inv_ _shipment_ _parcel_ _package_ _consignment_ _batch_ _lot_ \
         _build_ _release_ _request_ _ticket_ _article_ _product_ _item_ _model_ _part_ _transaction_ _txn_ \
         _tx_ _block_ _booking_ _coupon_ _voucher_ _flight_ _purchase_ _container_ _pallet_ _shelf_ \
         _warehouse_ _page_ _trace_ _span_ _job_ _task_ _tweet_ _catalog_ _catalogue_ _manifest_ _bestellung_ \
         _commande_ _facture_ _pedido_ _factura_ _ordine_ _encomenda_ _zamowienie_ 订单 訂單 发票 物流 注文 \
         주문 заказ",
    ),
    (Hint::NUMBERED, "_number_ _numbers_ _no_ _num_ _nr_ _numero_ _numer_ _nummer_ 号码 番号"),
    (Hint::NUMBERED | Hint::NOT_DIALLED, "_id_ _ids_ _code_ _ref_ _reference_ _key_ _identifier_"),
    (
        Hint::GENERIC,
        "_value_ _val_ _values_ _new_ _old_ _before_ _after_ _previous_ _current_ _answer_ _answers_ _response_ _number_ _no_ _num_ _nr_ _id_ _text_ _raw_ _data_ _primary_ _secondary_ _work_ _home_ \
         _main_ _personal_ _private_ _business_ _other_ _formatted_ _display_ _plain_ _code_ _content_ _body_ \
         _original_ _e164_ _national_ _international_ _ref_ _reference_ _field_ _document_ _doc_ _kind_ \
         _identifier_ _key_ _details_ _detail_ _info_ _information_ _attributes_ _identity_ _digits_ _full_ \
         _numero_ _numer_ _nummer_ _wert_ _valeur_ _valor_ 号码 番号",
    ),
    (
        Hint::PERSON,
        "_customer_ _customers_ _user_ _users_ _person_ _persons_ _people_ _patient_ _patients_ _contact_ \
         _contacts_ _employee_ _employees_ _owner_ _holder_ _recipient_ _recipients_ _sender_ _beneficiary_ \
         _payer_ _payee_ _author_ _member_ _members_ _passenger_ _passengers_ _guest_ _guests_ _student_ _teacher_ \
         _driver_ _applicant_ _insured_ _buyer_ _seller_ _client_ _subscriber_ _consignee_ _receiver_ _attendee_ \
         _attendees_ _participant_ _participants_ _doctor_ _physician_ _nurse_ _candidate_ _borrower_ _tenant_ \
         _resident_ _citizen_ _child_ _children_ _spouse_ _father_ _mother_ _parent_ _guardian_ _dependent_ \
         _dependents_ _signatory_ _director_ _shareholder_ _visitor_ _donor_ _voter_ _claimant_ _witness_ _victim_ \
         _suspect_ _profile_ _billing_ _shipping_ _shipto_ _billto_ _ship_to_ _bill_to_ _soldto_ _sold_to_ \
         _individual_ _manager_ _assignee_ _reporter_ \
         _requester_ _kunde_ _kunden_ _mitarbeiter_ _empfanger_ _patientin_ _personne_ _cliente_ _clientes_ \
         _persona_ _paciente_ _empleado_ _usuario_ _utente_ _paziente_ _dipendente_ _pessoa_ _klant_ _medewerker_ \
         _kund_ _asiakas_ _klient_  _pacjent_ _osoba_ _zakaznik_ _musteri_ _utilisateur_ _destinataire_ \
         _expediteur_ _acheteur_ _titulaire_ _titular_ _salarie_ _employe_ _locataire_ _conducteur_ _etudiant_ \
         _destinatario_ _remitente_ _mittente_ _propietario_ _proprietario_ _beneficiario_ _beneficiaire_ \
         _contacto_ _contatto_ _contato_ _pasajero_ _passeggero_ _passageiro_ _passager_ _alumno_ _comprador_ \
         _utilizador_ _usuarios_ _personas_ _clienti_ _clients_ _titolare_ _empleada_ _clienta_ _medecin_ 客户 \
         客戶 用户 用戶 联系人 收件人 寄件人 \
         员工 患者 顧客 お客様 従業員 고객 사용자 직원 клиент пользователь пациент сотрудник",
    ),
    (Hint::BARE_NAME | Hint::NAME_PART, "_first_ _last_ _middle_ _given_ _family_"),
    (Hint::LINE, "_line_ _lines_"),
    (
        Hint::STREET,
        "_street_ streetname streetline strasse straße _rue_ _rua_ _calle_ logradouro straatnaam _straat_ \
         gatuadress katuosoite _ulica_",
    ),
    (
        Hint::BARE_NAME,
        "_name_ _names_ _navn_ _namn_ _naam_ _nom_ _nombre_ _nome_ _nama_ _nume_ _име_ _ονομα_",
    ),
    (Hint::POSITION, "_position_ _positions_"),
    (
        Hint::MACHINE,
        "_robot_ _robots_ _joint_ _joints_ _camera_ _cameras_ _axis_ _axes_ _gripper_ _actuator_ _servo_ _tool_ _tcp_ \
         _pose_ _sprite_ _mesh_ _screen_ _mouse_ _pointer_ _viewport_ _widget_ _machine_ _arm_",
    ),
    (Hint::LATITUDE, "_lat_ latitude breitengrad latitud 纬度 緯度 위도 широта"),
    (Hint::LONGITUDE, "_lon_ _lng_ _long_ longitude langengrad laengengrad longitud 经度 経度 경도 долгота"),
    (
        Hint::THING,
        "filename hostname _host_ _file_ _company_ companyname _organization_ _organisation_ _org_ _event_ classname \
         _class_ servicename _service_ typename _type_ bankname _bank_ _city_ _country_ _state_ _region_ _product_ \
         productname _item_ _brand_ _model_ _device_ _app_ _application_ _project_ _package_ _topic_ _queue_ \
         _table_ \
         _column_ _database_ _db_ _schema_ _domain_ _domainname_ _server_ _cluster_ _namespace_ _pod_ _container_ \
         _image_ _node_ _username_ _user_name_ _login_ _loginname_ _nickname_ _path_ _directory_ _folder_ _method_ \
         _function_ _field_name_ _key_name_ _role_ _group_ _team_ _department_ _store_ _shop_ _hotel_ _restaurant_ \
         _school_ _merchant_ _vendor_ _supplier_ _campaign_ _channel_ _category_ _tag_ _label_ _feature_ _flag_ \
         _metric_ _rule_ _policy_ _plan_ _tier_ _zone_ _branch_ _repository_ _repo_ _workflow_ _job_ _task_ _step_ \
         _stage_ _environment_ _template_ _agent_ _browser_ _os_ _language_ _currency_ _firma_ _status_ _title_ \
         _issuer_ _scheme_ _network_ _article_ _articles_ _products_ \
         _producto_ _productos_ _produit_ _produits_ _prodotto_ _prodotti_ _produto_ _produtos_ _articulo_ \
         _articulos_ _articolo_ _articoli_ _artigo_ _artigos_ _produkt_ _artikel_ _empresa_ _entreprise_ _societe_ \
         _azienda_ _ciudad_ _ville_ _citta_ _cidade_ _pais_ _pays_ _paese_ _fichier_ _archivo_ _arquivo_ _marca_ \
         _marque_ _modelo_ _modele_ _modello_ _categoria_ _categorie_ _banco_ _banque_ _banca_ _tienda_ _magasin_ \
         _negozio_ _loja_ _servicio_ _servizio_ _servico_ _evento_ _evenement_ _proyecto_ _projet_ _progetto_ \
         _projeto_ _proveedor_ _fournisseur_ _fornitore_ _fornecedor_ _provincia_ _commune_ _comune_ _municipio_ \
         商品 公司 企业 会社 제품",
    ),
    (
        Hint::VERSION,
        "_version_ _ver_ _versions_ imagetag _upgrade_ _upgraded_ _upgrades_ _upgrading_ _downgrade_ _downgraded_ _bump_ _bumped_ _release_ _firmware_ _fw_ _sw_ _build_ _semver_ _software_ _revision_ _useragent_ \
         _user_agent_ _kernel_ _sdk_ _oid_ _patch_ _chapter_ _section_ _clause_ _v_ _rev_ 版本 バージョン 버전 \
         версия",
    ),
    (
        Hint::NOT_MAIL,
        "messageid inreplyto _package_ _packages_ _dependency_ _dependencies_ _image_ _docker_ _npm_ _module_ \
         contentid _xmpp_ _jid_ _unit_ _ssh_ _git_ _repo_ repository",
    ),
    (
        Hint::PLACE,
        "_address_ _addresses_ _adresse_ _anschrift_ _direccion_ _indirizzo_ _endereco_ _adres_ 地址 住所 주소",
    ),
];
